"""Tests of names, labels and marks: the installation and attempt that an object belongs to."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.kubernetes import names
from services.executor.planning import name_of

OURS = "abcdefgh"


def job(installation: str = OURS, attempt: int = 7, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name_of(installation, attempt),
            "labels": names.labels(installation, 3, 5, attempt),
            **metadata,
        }
    }


def pod(owner: str, controller: bool = True) -> dict[str, Any]:
    owners = [
        {"kind": "ReplicaSet", "name": "x", "uid": "0", "controller": False},
        {"kind": "Job", "name": owner, "uid": "u", "controller": controller},
    ]
    return job(name=f"{owner}-x7k2p", ownerReferences=owners)


def test_an_attempts_objects_are_known_by_labels_and_name() -> None:
    assert names.attempt_of_job(job(), OURS) == 7
    assert names.attempt_of_pod(pod("tp-abcdefgh-7"), OURS) == 7
    assert names.job_of_pod(pod("tp-abcdefgh-7")) == ("tp-abcdefgh-7", "u")


@pytest.mark.parametrize(
    "foreign",
    [
        {},
        {"metadata": {}},
        {"metadata": {"name": "tp-abcdefgh-7"}},
        job("hgfedcba"),
        job(name="tp-abcdefgh-8"),
        job(labels={**names.labels(OURS, 3, 5, 7), names.ATTEMPT_LABEL: "07"}),
        job(labels={**names.labels(OURS, 3, 5, 7), names.MANAGED_BY_LABEL: "helm"}),
    ],
)
def test_what_is_not_this_installations_is_nobodys(foreign: dict[str, Any]) -> None:
    assert names.attempt_of_job(foreign, OURS) is None
    assert names.attempt_of_pod(foreign, OURS) is None


def test_a_pod_of_another_job_is_not_an_attempts() -> None:
    assert names.attempt_of_pod(pod("by-hand"), OURS) is None
    assert names.attempt_of_pod(pod("tp-abcdefgh-7", controller=False), OURS) is None


def test_a_selector_names_one_installation() -> None:
    assert names.selector(OURS) == "app.kubernetes.io/managed-by=towpath,towpath.dev/installation=abcdefgh"
    assert names.attempt_selector(OURS, 7).endswith(",towpath.dev/attempt=7")


def test_marks_are_read_from_where_they_are() -> None:
    assert names.creation_token_of(job(annotations={names.CREATION_TOKEN: "t"})) == "t"
    assert names.creation_token_of(job()) == ""
    assert names.is_gated({"spec": {"schedulingGates": [{"name": names.GATE}]}})
    assert not names.is_gated({"spec": {"schedulingGates": [{"name": "another"}]}})
    assert not names.is_gated({"spec": {}})


def test_a_log_is_where_its_reader_looks() -> None:
    assert (
        names.log_location("api", "builds", "tp-abcdefgh-7-x", "u")
        == "kubernetes:///builds/tp-abcdefgh-7-x/u"
    )
    assert names.log_location("agent", "builds", "tp-abcdefgh-7-x", "u") == "node:///builds/tp-abcdefgh-7-x/u"


@given(st.text())
def test_any_text_makes_a_label(text: str) -> None:
    value = names.label_value(text)
    assert names.label_value(value) == value
    assert 0 < len(value) <= 63
