"""Tests that `make up CLUSTER=kubernetes` reports missing parts before it starts anything."""

from pathlib import Path

import pytest

from devstack.errors import DevstackError
from devstack.kubernetes import kubeconfig_of, kubernetes_environment, lacks_image, prepare_cluster
from devstack.settings import DevstackSettings


def node(*images: str) -> dict[str, object]:
    return {"status": {"images": [{"names": [image]} for image in images]}}


def test_without_a_kubeconfig_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(
        DevstackError, match=f"KUBECONFIG is not set and {tmp_path}/.kube/config is not there"
    ):
        kubeconfig_of("", tmp_path)
    with pytest.raises(DevstackError, match="which is not there"):
        kubeconfig_of(str(tmp_path / "gone"), tmp_path)
    with pytest.raises(DevstackError, match="several files"):
        kubeconfig_of("/a:/b", tmp_path)


def test_a_cluster_that_does_not_answer_is_told_with_its_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.write_text(
        "{apiVersion: v1, kind: Config, current-context: c, contexts: [{name: c, context: {cluster: k, "
        "user: u}}],"
        " clusters: [{name: k, cluster: {server: 'http://127.0.0.1:1'}}], users: [{name: u, user: {token: "
        "t}}]}"
    )
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(DevstackError, match=f"{path} does not answer"):
        prepare_cluster(DevstackSettings(), print)


def test_a_file_that_is_no_kubeconfig_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("[]")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    with pytest.raises(DevstackError, match="does not say how to reach a cluster"):
        prepare_cluster(DevstackSettings(), print)


@pytest.mark.parametrize(
    ("nodes", "image", "lacks"),
    [
        ([node("docker.io/library/debian:bookworm-slim")], "towpath:latest", True),
        ([node("docker.io/library/towpath:latest")], "towpath:latest", False),
        ([node("localhost/towpath:latest")], "towpath:latest", False),
        ([node("a:1"), node("docker.io/library/towpath:latest")], "towpath:latest", False),
        ([node("a:1")], "registry.example/towpath:latest", False),
        ([node(*(f"a:{n}" for n in range(50)))], "towpath:latest", False),
        ([], "towpath:latest", False),
    ],
    ids=[
        "missing",
        "there",
        "there by another name",
        "on one node",
        "of a registry",
        "a node that does not tell all",
        "no nodes",
    ],
)
def test_an_image_that_no_pod_can_get_is_noticed(
    nodes: list[dict[str, object]], image: str, lacks: bool
) -> None:
    assert lacks_image(nodes, image) is lacks


def test_the_services_are_told_one_cluster_by_one_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config"
    path.touch()
    monkeypatch.setenv("KUBECONFIG", str(path))
    told = kubernetes_environment(DevstackSettings(kubernetes_namespace="mine"))
    assert (told["TOWPATH_BACKEND"], told["TOWPATH_KUBERNETES_NAMESPACE"]) == ("kubernetes", "mine")
    assert told["TOWPATH_KUBECONFIGS"] == f"{told['TOWPATH_CLUSTER']}={told['TOWPATH_KUBECONFIG']}"
