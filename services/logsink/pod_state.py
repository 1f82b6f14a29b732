"""Pod status as far as it concerns logs: whether a container will start, runs, has ended, or never starts.

With `restartPolicy: Never`, a state that the kubelet has reported does not go back. A service container may
be started again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import Any

from shared import step_markers

_OVER = frozenset({"Succeeded", "Failed"})
_LOST_NODE = "DeletionByTaintManager"


class Where(Enum):
    """State of a container, as far as its log is concerned."""

    NOT_BEGUN = auto()
    """The container may still begin, or begin again."""
    RUNNING = auto()
    ENDED = auto()
    """Its log is complete."""
    NEVER = auto()
    """The container has not begun and will not. Its log is empty and complete."""


@dataclass(frozen=True, slots=True)
class ContainerState:
    """State of a container, as the kubelet has reported it."""

    state: str
    """`waiting`, `running` or `terminated`."""
    restarts: int = 0
    """Number of times that it was started again."""
    started_at: datetime | None = None
    """Start time in whole seconds, if it is running or terminated."""
    has_run: bool = False
    """True if it has ever begun."""
    ended_step: int | None = None
    """The last step that has ended, if this is a terminated container of a job's steps."""


@dataclass(frozen=True, slots=True)
class PodState:
    """The fields of a pod object that concern logs."""

    uid: str
    version: int = 0
    """Resource version; it grows with each change."""
    phase: str = ""
    is_going: bool = False
    """True if the pod is being deleted."""
    node_is_lost: bool = False
    """True if the cluster deletes the pod because its node does not answer."""
    containers: Mapping[str, ContainerState] = field(default_factory=dict)

    def where(self, container: str, *, attempt_is_over: bool) -> Where:
        """Returns the state of a container.

        `attempt_is_over` is True if its attempt had its verdict before this pod status was requested.
        """
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
    """Returns the state of a pod object, as the API sends it."""
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
        state,
        restarts,
        datetime.fromisoformat(started_at) if started_at else None,
        has_run,
        step_markers.last_ended(facts.get("message") or "") if state == "terminated" else None,
    )
