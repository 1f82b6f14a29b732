"""The parts of Jobs and pods that the executor needs. Pure.

Thousands of pods are held in memory, so everything else is dropped as soon as an object is read.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from services.executor.kubernetes import names

Object = Mapping[str, Any]

ENDED_BECAUSE = "towpath.dev/ended-because"
"""Annotation of a pod that the executor abandoned: reason, a colon, and a message for users."""

_LONGEST_MESSAGE = 1000


@dataclass(frozen=True, slots=True)
class Terminated:
    """The end of a container. `started_at` is None if it never ran."""

    exit_code: int
    reason: str
    message: str
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Container:
    """The status of a container. A container that has no status yet waits without a reason."""

    name: str
    image: str = ""
    sidecar: bool = False
    waiting: str = ""
    """The kubelet's reason why the container waits."""
    message: str = ""
    running_since: datetime | None = None
    terminated: Terminated | None = None
    ended_before: Terminated | None = None
    """The end of its previous run."""
    restarts: int = 0
    started: bool = False
    """True once it has started and its startup probe, if it has one, has passed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSeen:
    """A pod of one attempt."""

    uid: str
    name: str
    attempt_id: int
    job_uid: str
    created_at: datetime | None
    version: str = field(default="", compare=False)
    """Its resourceVersion. Not compared, because it changes with every write."""
    gated: bool = False
    node: str = ""
    phase: str = ""
    reason: str = ""
    message: str = ""
    active_deadline_seconds: int | None = None
    stop_grace_seconds: int = 0
    """The time between SIGTERM and SIGKILL of its processes."""
    ended_because: str = ""
    deleted_at: datetime | None = None
    """Its deletionTimestamp: when its deletion was requested, plus the grace period."""
    grace_seconds: int = 0
    """The grace period of its deletion."""
    disruption: tuple[str, str] | None = None
    """Reason and message of the condition DisruptionTarget."""
    unreachable: bool = False
    """True if the node controller reports that the pod's node has stopped answering.

    The node controller gives no reason for a pod that is not ready; a kubelet does.
    """
    unschedulable: str = ""
    sandbox_ready: bool = False
    init: tuple[Container, ...] = ()
    """The init containers in order, including sidecars."""
    job: Container = Container(names.JOB_CONTAINER)

    @property
    def containers(self) -> tuple[str, ...]:
        """The containers whose logs are kept, in order."""
        kept = (container.name for container in self.init if container.name != names.OUTPUTS_CONTAINER)
        return (*kept, self.job.name)

    @property
    def outputs(self) -> Container | None:
        """The container that prints the outputs of the job's steps, if the job has `outputs`."""
        return next((one for one in self.init if one.name == names.OUTPUTS_CONTAINER), None)

    @property
    def is_over(self) -> bool:
        """True once the kubelet has reported the pod's final phase."""
        return self.phase in ("Succeeded", "Failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSeen:
    """The Job of one attempt."""

    uid: str
    name: str
    attempt_id: int
    creation_token: str = field(repr=False)
    is_over: bool = False
    """True if the Job creates no more pods."""


def job_seen(job: Object, installation: str) -> JobSeen | None:
    """Reduce a Job. Returns None if it does not belong to this installation."""
    attempt = names.attempt_of_job(job, installation)
    if attempt is None:
        return None
    metadata = job["metadata"]
    conditions = _conditions(job)
    return JobSeen(
        uid=metadata["uid"],
        name=metadata["name"],
        attempt_id=attempt,
        creation_token=names.creation_token_of(job),
        is_over="deletionTimestamp" in metadata
        or any(conditions.get(kind, {}).get("status") == "True" for kind in ("Failed", "Complete")),
    )


def pod_seen(pod: Object, installation: str) -> PodSeen | None:
    """Reduce a pod. Returns None if it does not belong to this installation."""
    attempt = names.attempt_of_pod(pod, installation)
    if attempt is None:
        return None
    metadata, spec, status = pod["metadata"], pod.get("spec", {}), pod.get("status", {})
    conditions = _conditions(pod)
    disruption = conditions.get("DisruptionTarget", {})
    scheduled = conditions.get("PodScheduled", {})
    return PodSeen(
        uid=metadata["uid"],
        name=metadata["name"],
        attempt_id=attempt,
        job_uid=names.job_of_pod(pod)[1],
        created_at=_instant(metadata.get("creationTimestamp")),
        version=metadata.get("resourceVersion", ""),
        gated=names.is_gated(pod),
        node=sys.intern(spec.get("nodeName") or ""),
        phase=sys.intern(status.get("phase") or ""),
        reason=status.get("reason") or "",
        message=(status.get("message") or "")[:_LONGEST_MESSAGE],
        active_deadline_seconds=spec.get("activeDeadlineSeconds"),
        stop_grace_seconds=spec.get("terminationGracePeriodSeconds") or 0,
        ended_because=(metadata.get("annotations") or {}).get(ENDED_BECAUSE, ""),
        deleted_at=_deleted_at(metadata),
        grace_seconds=metadata.get("deletionGracePeriodSeconds") or 0,
        disruption=(disruption.get("reason") or "", disruption.get("message") or "")
        if disruption.get("status") == "True"
        else None,
        unreachable=_is_unreachable(conditions.get("Ready", {})),
        unschedulable=(scheduled.get("message") or "")[:_LONGEST_MESSAGE]
        if scheduled.get("reason") == "Unschedulable"
        else "",
        sandbox_ready=conditions.get("PodReadyToStartContainers", {}).get("status") == "True",
        init=_containers(spec.get("initContainers") or (), status.get("initContainerStatuses") or ()),
        job=_job_container(spec, status),
    )


def _is_unreachable(ready: Object) -> bool:
    return ready.get("status") == "False" and not ready.get("reason")


def _job_container(spec: Object, status: Object) -> Container:
    found = _containers(spec.get("containers") or (), status.get("containerStatuses") or ())
    return next(
        (container for container in found if container.name == names.JOB_CONTAINER),
        Container(names.JOB_CONTAINER),
    )


def _containers(specs: Sequence[Object], statuses: Sequence[Object]) -> tuple[Container, ...]:
    by_name = {status["name"]: status for status in statuses}
    return tuple(_container(spec, by_name.get(spec["name"], {})) for spec in specs)


def _container(spec: Object, status: Object) -> Container:
    state = status.get("state") or {}
    waiting, running = state.get("waiting") or {}, state.get("running") or {}
    return Container(
        name=sys.intern(spec["name"]),
        image=sys.intern(spec.get("image") or ""),
        sidecar=spec.get("restartPolicy") == "Always",
        waiting=sys.intern(waiting.get("reason") or ""),
        message=(waiting.get("message") or "")[:_LONGEST_MESSAGE],
        running_since=_instant(running.get("startedAt")),
        terminated=_terminated(state),
        ended_before=_terminated(status.get("lastState") or {}),
        restarts=status.get("restartCount") or 0,
        started=bool(status.get("started")),
    )


def _terminated(state: Object) -> Terminated | None:
    ended = state.get("terminated")
    if ended is None:
        return None
    return Terminated(
        exit_code=ended.get("exitCode", 0),
        reason=sys.intern(ended.get("reason") or ""),
        message=ended.get("message") or "",
        started_at=_instant(ended.get("startedAt")),
        finished_at=_instant(ended.get("finishedAt")),
    )


def _deleted_at(metadata: Object) -> datetime | None:
    return _instant(metadata.get("deletionTimestamp"))


def _conditions(found: Object) -> dict[str, Object]:
    return {condition["type"]: condition for condition in found.get("status", {}).get("conditions") or ()}


def _instant(text: str | None) -> datetime | None:
    """Parse a time. Returns None also for 1970, with which the kubelet means that there is no time."""
    instant = datetime.fromisoformat(text) if text else None
    return instant if instant is not None and instant.year > 1970 else None
