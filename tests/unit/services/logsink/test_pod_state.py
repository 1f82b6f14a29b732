"""Tests of the information in a pod's object about the logs of its containers.

The objects are those of Kubernetes 1.36, reduced to the fields about logs.
"""

from typing import Any

import pytest

from services.logsink.pod_state import Where, pod_state

WAITING = {"waiting": {"reason": "PodInitializing"}}
RUNNING = {"running": {"startedAt": "2026-11-23T12:00:00Z"}}
TERMINATED = {
    "terminated": {
        "exitCode": 0,
        "reason": "Completed",
        "startedAt": "2026-11-23T12:00:00Z",
        "finishedAt": "2026-11-23T12:00:01Z",
        "containerID": "containerd://c",
    }
}
NEVER_MADE = {
    "terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
}


def pod(state: dict[str, Any] | None, phase: str = "Running", **more: Any) -> dict[str, Any]:
    statuses = (
        [
            {
                "name": "job",
                "restartCount": more.pop("restarts", 0),
                "state": state,
                "lastState": more.pop("last", {}),
            }
        ]
        if state
        else None
    )
    metadata = {"name": "p", "uid": "u", "resourceVersion": "7", **more}
    return {"metadata": metadata, "status": {"phase": phase, "containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("there", "is_over", "where"),
    [
        (pod(None, "Pending"), False, Where.NOT_BEGUN),
        (pod(WAITING, "Pending"), False, Where.NOT_BEGUN),
        (pod(RUNNING), False, Where.RUNNING),
        (pod(RUNNING), True, Where.RUNNING),
        (pod(RUNNING, deletionTimestamp="2026-11-23T12:00:00Z"), True, Where.RUNNING),
        (pod(TERMINATED), False, Where.ENDED),
        (pod(TERMINATED, "Succeeded"), False, Where.ENDED),
        (pod(RUNNING, "Failed"), False, Where.ENDED),
        (pod(NEVER_MADE, "Failed"), False, Where.NEVER),
        (pod(WAITING, "Failed"), False, Where.NEVER),
        (pod(None, "Failed"), False, Where.NEVER),
        (pod(WAITING, "Pending", deletionTimestamp="2026-11-23T12:00:00Z"), False, Where.NEVER),
        (pod(WAITING, "Pending"), True, Where.NEVER),
        (pod(None, "Pending"), True, Where.NEVER),
        (pod(WAITING, restarts=1, last=TERMINATED), False, Where.NOT_BEGUN),
        (pod(WAITING, restarts=1, last=TERMINATED), True, Where.ENDED),
    ],
)
def test_where_a_container_is(there: dict[str, Any], is_over: bool, where: Where) -> None:
    assert pod_state(there).where("job", attempt_is_over=is_over) is where


@pytest.mark.parametrize(
    ("state", "message", "step"),
    [
        ("terminated", "\ndriver\n1 12 s0\n2 ", 1),
        ("terminated", "\ndriver\n1 ", None),
        ("terminated", None, None),
        ("running", "\ndriver\n1 12 s0", None),
    ],
)
def test_a_terminated_container_names_the_last_step_that_its_driver_noted(
    state: str, message: str | None, step: int | None
) -> None:
    facts = {"message": message} if message else {}
    assert pod_state(pod({state: facts})).containers["job"].ended_step == step


def test_init_containers_are_containers() -> None:
    there = {
        "metadata": {"uid": "u"},
        "status": {"initContainerStatuses": [{"name": "clone", "state": RUNNING}]},
    }
    assert pod_state(there).where("clone", attempt_is_over=False) is Where.RUNNING


def test_a_pod_deleted_for_its_node_says_so() -> None:
    there = {
        "metadata": {"uid": "u"},
        "status": {
            "conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]
        },
    }
    assert pod_state(there).node_is_lost
