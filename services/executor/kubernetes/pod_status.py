"""Interprets a pod's status: gated, released, waiting, or ended and why. Pure.

The exit code of the container `job` counts at once if nothing else can have ended it. Otherwise the pod's
final status is awaited, because the reason of an eviction or a stop may appear later than the exit code. Then
the cluster's reason counts more than the exit code.

The reasons are those of the kubelet, the scheduler and the controllers: k8s.io/api core/v1 (ContainerState,
PodStatus.reason, DisruptionTarget).
"""

from dataclasses import dataclass, replace

from services.executor.backend import OUT_OF_MEMORY, Cause, Phase, Pod, PodEnd
from services.executor.kubernetes.names import CLONE_CONTAINER, SERVICE_PREFIX
from services.executor.kubernetes.objects import Container, PodSeen, Terminated
from services.executor.kubernetes.pod_startup import (
    REGISTRY_SECONDS,
    coming_up,
    has_begun,
    has_image_trouble,
    obstacle_of,
    service_failure,
    service_trouble,
    waiting_of,
    waits_for,
)
from services.executor.step_facts import job_timed_out, started_twice
from shared.statuses import Reason

SETTLING_SECONDS = 5.0
"""Time for which the pod's final status is awaited after the end of its container."""
OUTPUTS_SECONDS = 30.0
"""Time for which the end of the container `outputs` is awaited after the end of the job's container."""
SILENT_SECONDS = 30.0
"""Time after the grace period by which a working kubelet has killed a deleted pod."""
_FIRST_SECONDS = 10.0
"""Additional time that lets Kubernetes act first."""
STOPPED_DEADLINE_SECONDS = 1
"""`activeDeadlineSeconds` of a pod that has to stop. No pod is created with this value."""

_DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
_POD_REASONS = {
    "Evicted": Reason.EVICTED,
    "Preempting": Reason.PREEMPTED,
    "Preempted": Reason.PREEMPTED,
    "NodeLost": Reason.NODE_LOST,
    "NodeShutdown": Reason.NODE_LOST,
    "Shutdown": Reason.NODE_LOST,
    "Terminated": Reason.NODE_LOST,  # the node shuts down
    "NodeAffinity": Reason.EVICTED,  # this and the following: the node rejected the pod
    "OutOfcpu": Reason.EVICTED,
    "OutOfmemory": Reason.EVICTED,
    "OutOfpods": Reason.EVICTED,
    "OutOfephemeral-storage": Reason.EVICTED,
    "UnexpectedAdmissionError": Reason.EVICTED,
}
_FORGOTTEN = Cause(
    Reason.LOST, "The node forgot the job's container while it ran. No step ran a second time."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodContext:
    """Facts about a pod that are not in its object."""

    seconds: float = 0.0
    """Lower bound of how long its stage has been the same."""
    gone: bool = False
    """True if the object no longer exists; it is the last version that was seen."""
    stopped: bool = False
    """True if this process deleted the pod because of a stop request."""
    abandoned: Cause | None = None
    """The cause for which this process deleted the pod."""
    node_lost_seconds: float = 300.0
    """Time for which a node may not answer."""


def pod_of(seen: PodSeen, context: PodContext) -> Pod:
    """Return the pod in the terms of the cluster interface."""
    end = _end(seen, context)
    if end is not None:
        return Pod(
            uid=seen.uid, name=seen.name, phase=Phase.ENDED, end=end, lingers=lingers(seen, context.gone)
        )
    if seen.gated:
        return Pod(uid=seen.uid, phase=Phase.GATED)
    if has_begun(seen):
        return Pod(
            uid=seen.uid,
            phase=Phase.RELEASED,
            started_at=seen.job.running_since,
            obstacle=_lost_node(seen, context),
        )
    current = coming_up(seen)
    return Pod(
        uid=seen.uid,
        phase=Phase.RELEASED,
        waiting=waiting_of(seen, current, context.seconds),
        obstacle=obstacle_of(seen, current, context.seconds),
    )


def lingers(seen: PodSeen, gone: bool) -> bool:
    """Return whether the job's container may still run, regardless of any verdict."""
    return bool(seen.node) and not (gone or seen.is_over or seen.job.terminated is not None)


def _lost_node(seen: PodSeen, context: PodContext) -> Cause | None:
    """Return the cause if the pod's node has not answered for too long.

    If no node answers, Kubernetes evicts none of their pods, because its control plane may be cut off. A job
    must not wait for that without a limit.
    """
    if (
        seen.unreachable
        and seen.deleted_at is None
        and context.seconds >= context.node_lost_seconds + _FIRST_SECONDS
    ):
        return Cause(
            Reason.NODE_LOST, f"The node {seen.node} has not answered for {round(context.seconds)} s."
        )
    return None


def stage(seen: PodSeen) -> tuple[str, ...]:
    """Return the stage of the pod. `PodContext.seconds` counts while it stays the same."""
    if seen.job.terminated is not None or seen.is_over:
        return ("ended",)
    if seen.deleted_at is not None:
        return ("deleted",)
    if seen.gated or has_begun(seen):
        return ("gated" if seen.gated else "unreachable" if seen.unreachable else "running",)
    current = coming_up(seen)
    return (
        "waiting",
        str(waits_for(seen, current)),
        current.name,
        "trouble" if has_image_trouble(current) else "",
    )


def recheck_seconds(seen: PodSeen) -> float | None:
    """Return after how many seconds in its stage the same object may mean more; None: it will not."""
    match stage(seen):
        case ("ended",) if not seen.is_over:
            return OUTPUTS_SECONDS if _has_outputs_to_come(seen, PodContext()) else SETTLING_SECONDS
        case ("deleted",):
            return seen.grace_seconds + SILENT_SECONDS
        case ("waiting", *_, "trouble"):
            return REGISTRY_SECONDS
        case _:
            return None


# ---------------------------------------------------------------- the end


def _end(seen: PodSeen, context: PodContext) -> PodEnd | None:
    """Return the end of the pod, or None if there is none or it is not certain yet."""
    ended = seen.job.terminated
    if ended is not None and ended.started_at is None:
        ended = None  # this is how the kubelet reports a container that it never started
    if ended is not None and _has_outputs_to_come(seen, context):
        return None
    if ended is not None and _speaks_for_itself(seen, ended):
        return _of_exit(seen, ended)
    if not _is_final(seen, ended, context):
        return None
    return _weighed(seen, ended, context)


def _has_outputs_to_come(seen: PodSeen, context: PodContext) -> bool:
    """Return whether the container `outputs` may still print, after the job's container has ended."""
    is_over = context.gone or seen.is_over or context.seconds >= OUTPUTS_SECONDS
    return not is_over and seen.outputs is not None and seen.outputs.terminated is None


def _weighed(seen: PodSeen, ended: Terminated | None, context: PodContext) -> PodEnd:
    """Combine all facts about the end of the pod, the strongest first.

    A reason from the cluster counts more than the exit code. An explicit reason counts more than a trace that
    several causes may leave, such as a deletion.
    """
    end = _of_exit(seen, ended) if ended is not None else PodEnd(clone_failure=_clone_failure(seen))
    cause = _cause(seen, ended, context)
    if cause is not None:
        return replace(end, cause=cause, time_limit=None, clone_failure=None)
    if _was_stopped(seen, ended, context):
        return replace(end, stopped=True, cause=None, time_limit=None)
    if seen.reason == "DeadlineExceeded":
        return replace(end, time_limit="job", cause=None)
    if seen.deleted_at is not None or context.gone:
        return replace(end, cause=_deleted(seen, ended, context))
    if ended is None and end.clone_failure is None:
        return replace(end, cause=_never_began(seen))
    return end


def _speaks_for_itself(seen: PodSeen, ended: Terminated) -> bool:
    """Return whether nothing but the container itself can have ended it."""
    if seen.deleted_at is not None:
        return _long_before_deletion(seen, ended)
    marked = (
        seen.disruption
        or seen.ended_because
        or seen.reason
        or seen.active_deadline_seconds == STOPPED_DEADLINE_SECONDS
    )
    return not marked and 0 <= ended.exit_code <= 127


def _long_before_deletion(seen: PodSeen, ended: Terminated) -> bool:
    """Return whether the container ended clearly before the deletion. Clocks may differ a little."""
    if seen.deleted_at is None or ended.finished_at is None:
        return False
    return (seen.deleted_at - ended.finished_at).total_seconds() > seen.grace_seconds + SETTLING_SECONDS


def _is_final(seen: PodSeen, ended: Terminated | None, context: PodContext) -> bool:
    if context.gone or seen.is_over:
        return True
    if ended is not None:
        return context.seconds >= SETTLING_SECONDS
    return seen.deleted_at is not None and context.seconds >= seen.grace_seconds + SILENT_SECONDS


def _of_exit(seen: PodSeen, ended: Terminated) -> PodEnd:
    cause = _of_failure(seen, ended)
    return PodEnd(
        exit_code=ended.exit_code,
        started_at=ended.started_at,
        finished_at=ended.finished_at,
        time_limit="job" if cause is None and job_timed_out(ended.exit_code, ended.message) else None,
        cause=cause,
        termination=ended.message,
        outputs={} if seen.outputs is None else None,
    )


def _of_failure(seen: PodSeen, ended: Terminated) -> Cause | None:
    """Return the cause, other than its script or its time limit, that may have made a job fail.

    If the script exits with 0, the job succeeds, even if a child of the script ran out of memory.
    """
    if ended.exit_code == 0:
        return None
    if ended.reason == "OOMKilled":
        return OUT_OF_MEMORY
    if seen.job.restarts or started_twice(ended.exit_code, ended.message):
        return _FORGOTTEN
    if ended.reason in ("StartError", "ContainerCannotRun"):
        return Cause(Reason.CONFIG_INVALID, f"The image's container could not be started: {ended.message}")
    return next(
        (cause for container in seen.init if (cause := _died_before(container, ended)) is not None), None
    )


def _died_before(service: Container, ended: Terminated) -> Cause | None:
    """Return the failure of a service that ended before the job. After the job, all services are stopped."""
    if not service.sidecar or not service.name.startswith(SERVICE_PREFIX):
        return None
    last = service.ended_before
    if (
        last is None
        and service.terminated is not None
        and (service.terminated.reason == "OOMKilled" or _earlier(service.terminated, ended))
    ):
        last = service.terminated
    return (
        None if last is None or last.exit_code == 0 else service_failure(service, last, "while the job ran")
    )


def _earlier(one: Terminated, other: Terminated) -> bool:
    return (
        one.finished_at is not None and other.finished_at is not None and one.finished_at < other.finished_at
    )


def _cause(seen: PodSeen, ended: Terminated | None, context: PodContext) -> Cause | None:
    """Return what the cluster did to the pod, or the cause for which the executor abandoned it."""
    abandoned = context.abandoned or _abandoned(seen)
    if abandoned is not None and (ended is None or seen.reason == "DeadlineExceeded"):
        return abandoned
    if seen.disruption is not None and seen.disruption[0] in _DISRUPTIONS:
        reason = _POD_REASONS.get(seen.reason, _DISRUPTIONS[seen.disruption[0]])
        return Cause(reason, seen.message or seen.disruption[1] or seen.disruption[0])
    if seen.reason in _POD_REASONS:
        return Cause(_POD_REASONS[seen.reason], seen.message or seen.reason)
    return None


def _abandoned(seen: PodSeen) -> Cause | None:
    reason, _, message = seen.ended_because.partition(": ")
    return Cause(Reason(reason), message) if reason in Reason.__members__.values() else None


def mark_of(cause: Cause) -> str:
    """Return the value of the annotation ENDED_BECAUSE."""
    return f"{cause.reason.value}: {cause.message}"


def _was_stopped(seen: PodSeen, ended: Terminated | None, context: PodContext) -> bool:
    if context.stopped:
        return True
    asked = seen.active_deadline_seconds == STOPPED_DEADLINE_SECONDS
    return asked and (seen.reason == "DeadlineExceeded" or ended is None or ended.exit_code > 127)


def _deleted(seen: PodSeen, ended: Terminated | None, context: PodContext) -> Cause:
    if ended is None and not (seen.is_over or context.gone):
        return Cause(
            Reason.NODE_LOST, f"The node {seen.node} has not answered since the pod's deletion was asked for."
        )
    return Cause(Reason.LOST, "The pod was deleted before the job had ended.")


def _never_began(seen: PodSeen) -> Cause | None:
    """Return the cause for a pod that is over and whose job container never ran."""
    trouble = service_trouble(seen)
    if trouble is not None:
        return trouble
    started = seen.job.terminated
    if started is not None and started.reason in ("StartError", "ContainerCannotRun"):
        return Cause(Reason.CONFIG_INVALID, f"The image's container could not be started: {started.message}")
    if seen.job.restarts or seen.job.ended_before is not None:
        return _FORGOTTEN
    words = " ".join(word for word in (seen.reason, seen.message) if word)
    return Cause(Reason.LOST, f"The pod ended before the job began: {words}") if words else None


def _clone_failure(seen: PodSeen) -> str | None:
    clone = next((container for container in seen.init if container.name == CLONE_CONTAINER), None)
    if clone is None or clone.terminated is None or clone.terminated.exit_code == 0:
        return None
    ended = clone.terminated
    if ended.reason == "OOMKilled":
        return "The clone used more memory than it was given."
    return ended.message.strip() or f"The clone ended with exit code {ended.exit_code} and without a word."
