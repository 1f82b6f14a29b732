"""Tests of the kubeconfig by which services reach a cluster through a proxy."""

from tests.chaos.cluster import through


def test_only_the_address_of_the_cluster_in_use_changes() -> None:
    config = {
        "current-context": "a",
        "contexts": [
            {"name": "b", "context": {"cluster": "far", "user": "u"}},
            {"name": "a", "context": {"cluster": "near", "user": "u"}},
        ],
        "clusters": [
            {"name": "far", "cluster": {"server": "https://far.example:6443"}},
            {
                "name": "near",
                "cluster": {"server": "https://127.0.0.1:6443", "certificate-authority-data": "X"},
            },
        ],
        "users": [{"name": "u", "user": {"token": "T"}}],
    }
    changed = through(config, 7777)
    assert changed["clusters"] == [
        config["clusters"][0],
        {"name": "near", "cluster": {"server": "https://127.0.0.1:7777", "certificate-authority-data": "X"}},
    ]
    assert {**changed, "clusters": None} == {**config, "clusters": None}
