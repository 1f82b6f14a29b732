"""What a pod's object says about the logs of its containers.

Pure. A state that the kubelet reported does not go back under `restartPolicy: Never`; a service container may
be started again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

_OVER = frozenset({"Succeeded", "Failed"})
_LOST_NODE = "DeletionByTaintManager"


class Where(Enum):
    """Where a container is, as far as its log is concerned."""

    NOT_BEGUN = auto()
    """It may still begin, or begin again."""
    RUNNING = auto()
    ENDED = auto()
    """Its log has its last byte."""
    NEVER = auto()
    """It has not begun and will not: its log is empty, and complete."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """A container that the kubelet has reported."""

    state: str
    """waiting, running, terminated"""
    restarts: int = 0
    """How often it was started again."""
    started_at: datetime | None = None
    """To the whole second; with running and terminated."""
    has_run: bool = False
    """Whether it ever began."""


@dataclass(frozen=True, slots=True)
class PodState:
    """What of a pod's object concerns logs."""

    uid: str
    version: int = 0
    """Grows with each change."""
    phase: str = ""
    is_going: bool = False
    """Whether it is being deleted."""
    node_is_lost: bool = False
    """Whether the cluster deletes it because its node does not answer."""
    containers: Mapping[str, ContainerState] = field(default_factory=dict)

    def where(self, container: str, *, attempt_is_over: bool) -> Where:
        """`attempt_is_over`: that its attempt had its verdict before this state was asked for."""
        there = self.containers.get(container)
        begun = there is not None and there.has_run
        if there is not None and there.state == "terminated":
            return Where.ENDED if begun else Where.NEVER
        if self.phase in _OVER:
            return Where.ENDED if begun else Where.NEVER
        if there is not None and there.state == "running":
            return Where.RUNNING
        if self.is_going or attempt_is_over:
            return Where.ENDED if begun else Where.NEVER
        return Where.NOT_BEGUN


def pod_state(pod: Mapping[str, Any]) -> PodState:
    """Of a pod's object, as the API sends it."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    reported = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return PodState(
        uid=metadata["uid"],
        version=int(metadata.get("resourceVersion") or 0),
        phase=status.get("phase") or "",
        is_going=bool(metadata.get("deletionTimestamp")),
        node_is_lost=any(
            one.get("type") == "DisruptionTarget" and one.get("reason") == _LOST_NODE
            for one in status.get("conditions") or ()
        ),
        containers={one["name"]: _container_state(one) for one in reported},
    )


def _container_state(reported: Mapping[str, Any]) -> ContainerState:
    state, facts = next(
        ((name, facts or {}) for name, facts in (reported.get("state") or {}).items()), ("waiting", {})
    )
    last = (reported.get("lastState") or {}).get("terminated")
    restarts = int(reported.get("restartCount") or 0)
    started_at = facts.get("startedAt")
    has_run = (
        state == "running"
        or bool(last)
        or restarts > 0
        or (state == "terminated" and bool(facts.get("containerID")))
    )
    return ContainerState(
        state, restarts, datetime.fromisoformat(started_at) if started_at else None, has_run
    )
