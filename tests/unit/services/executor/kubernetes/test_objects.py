"""Tests of the values kept of Jobs and pods: only those of this installation, and little of each."""

import copy
import sys
from typing import Any

import pytest

from services.executor.kubernetes.objects import job_seen, pod_seen
from tests.unit.services.executor.kubernetes.recordings import NAMES, recorded, seen

JOB: dict[str, Any] = {
    "metadata": {
        "name": "tp-abcdefgh-1",
        "uid": "u",
        "labels": {
            "app.kubernetes.io/managed-by": "towpath",
            "towpath.dev/installation": "abcdefgh",
            "towpath.dev/attempt": "1",
        },
        "annotations": {"towpath.dev/creation-token": "t"},
    },
    "spec": {},
    "status": {},
}


@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_pod_is_its_attempts(name: str) -> None:
    pod = seen(name)
    assert (pod.attempt_id, pod.job_uid, pod.name.startswith("tp-abcdefgh-1-")) == (
        1,
        recorded(name)["metadata"]["ownerReferences"][0]["uid"],
        True,
    )
    assert pod.containers[-1] == "job"
    assert pod_seen(recorded(name), "zzzzzzzz") is None


def test_a_pod_that_no_job_of_ours_controls_is_nobodys() -> None:
    pod = recorded("running")
    pod["metadata"]["ownerReferences"][0]["name"] = "tp-abcdefgh-2"
    assert pod_seen(pod, "abcdefgh") is None
    del pod["metadata"]["ownerReferences"]
    assert pod_seen(pod, "abcdefgh") is None


def test_a_job_is_over_when_it_makes_no_pod_any_more() -> None:
    found = job_seen(JOB, "abcdefgh")
    assert found is not None
    assert (found.uid, found.attempt_id, found.creation_token, found.is_over) == ("u", 1, "t", False)
    for change in (
        {"status": {"conditions": [{"type": "Failed", "status": "True"}]}},
        {"metadata": {**JOB["metadata"], "deletionTimestamp": "x"}},
    ):
        over = job_seen({**copy.deepcopy(JOB), **change}, "abcdefgh")
        assert over is not None
        assert over.is_over


def size_of(value: Any) -> int:
    """Return the size in bytes, without interned strings, which all pods share."""
    if isinstance(value, str):
        return 0 if value is sys.intern(value) else sys.getsizeof(value)
    if isinstance(value, tuple):
        return sys.getsizeof(value) + sum(map(size_of, value))
    slots = getattr(type(value), "__slots__", ())
    return (
        sys.getsizeof(value) + sum(size_of(getattr(value, slot)) for slot in slots if isinstance(slot, str))
        if slots
        else 0
    )


def test_a_live_pod_takes_little_memory() -> None:
    """Five thousand of them must fit into the memory of an executor."""
    assert size_of(seen("service_not_ready")) < 2000
    assert size_of(seen("running")) < 1200
