"""What a pod's object says of an attempt: gated, released, held up, or ended and why. Pure.

The container `job` is the nearest witness: its exit code counts at once where nothing else can have ended it.
Else a pod's last word is waited for, for the reason of an eviction or a stop may show up later than the exit
code, and then what the cluster says weighs more than the code.

The words are kubelet's, of its scheduler and controllers: k8s.io/api core/v1 (ContainerState,
PodStatus.reason, DisruptionTarget).
"""

from dataclasses import dataclass, replace

from services.executor.cluster import OUT_OF_MEMORY, Cause, Phase, Pod, PodEnd
from services.executor.kubernetes.beginnings import (
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
from services.executor.kubernetes.names import CLONE_CONTAINER, SERVICE_PREFIX
from services.executor.kubernetes.objects import Container, PodSeen, Terminated
from services.executor.step_facts import job_timed_out, started_twice
from shared.statuses import Reason

SETTLING_SECONDS = 5.0
"""How long after the end of a container the pod's own word is waited for."""
SILENT_SECONDS = 30.0
"""A kubelet that lives has killed a deleted pod this long after its grace period."""
_FIRST_SECONDS = 10.0
"""What Kubernetes does by itself comes first."""
STOPPED_DEADLINE_SECONDS = 1
"""`activeDeadlineSeconds` of a pod that is to stop; no pod begins with it."""

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
    "Terminated": Reason.NODE_LOST,  # a node that shuts down
    "NodeAffinity": Reason.EVICTED,  # from here on: the node did not take the pod after all
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
class Beside:
    """What is known of a pod beside its object."""

    seconds: float = 0.0
    """For how long at least its stage has been what it is."""
    gone: bool = False
    """The object is the last that was seen of it; it is there no more."""
    stopped: bool = False
    """It was deleted here, by request, before it had a node."""
    abandoned: Cause | None = None
    """It was deleted here, for this, before it had a node."""
    node_lost_seconds: float = 300.0
    """How long a node may be out of reach."""


def pod_of(seen: PodSeen, beside: Beside) -> Pod:
    """What the contract of a cluster says of this pod."""
    end = _end(seen, beside)
    if end is not None:
        return Pod(uid=seen.uid, phase=Phase.ENDED, end=end, lingers=lingers(seen, beside.gone))
    if seen.gated:
        return Pod(uid=seen.uid, phase=Phase.GATED)
    if has_begun(seen):
        return Pod(
            uid=seen.uid,
            phase=Phase.RELEASED,
            started_at=seen.job.running_since,
            obstacle=_lost_node(seen, beside),
        )
    current = coming_up(seen)
    return Pod(
        uid=seen.uid,
        phase=Phase.RELEASED,
        waiting=waiting_of(seen, current, beside.seconds),
        obstacle=obstacle_of(seen, current, beside.seconds),
    )


def lingers(seen: PodSeen, gone: bool) -> bool:
    """Whether its job's container may run, whatever was concluded."""
    return bool(seen.node) and not (gone or seen.is_over or seen.job.terminated is not None)


def _lost_node(seen: PodSeen, beside: Beside) -> Cause | None:
    """Where every node is out of reach, Kubernetes gives up none of their pods: it may be the control plane
    that is cut off. A job can't wait for ever.
    """
    if (
        seen.unreachable
        and seen.deleted_at is None
        and beside.seconds >= beside.node_lost_seconds + _FIRST_SECONDS
    ):
        return Cause(
            Reason.NODE_LOST, f"The node {seen.node} has not answered for {round(beside.seconds)} s."
        )
    return None


def stage(seen: PodSeen) -> tuple[str, ...]:
    """What must stay the same for time to count: see `Beside.seconds`."""
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


def look_again_seconds(seen: PodSeen) -> float | None:
    """After so long in its stage the same object may say more; None: it will not."""
    match stage(seen):
        case ("ended",) if not seen.is_over:
            return SETTLING_SECONDS
        case ("deleted",):
            return seen.grace_seconds + SILENT_SECONDS
        case ("waiting", *_, "trouble"):
            return REGISTRY_SECONDS
        case _:
            return None


# ---------------------------------------------------------------- the end


def _end(seen: PodSeen, beside: Beside) -> PodEnd | None:
    """None while it is not certain, or there is none."""
    ended = seen.job.terminated
    if ended is not None and ended.started_at is None:
        ended = None  # the kubelet's word for a container that it never began
    if ended is not None and _speaks_for_itself(seen, ended):
        return _of_exit(seen, ended)
    if not _is_final(seen, ended, beside):
        return None
    return _weighed(seen, ended, beside)


def _weighed(seen: PodSeen, ended: Terminated | None, beside: Beside) -> PodEnd:
    """What the cluster says weighs more than the exit code, and a word of its own more than a mark that
    anything may have left.
    """
    end = _of_exit(seen, ended) if ended is not None else PodEnd(clone_failure=_clone_failure(seen))
    cause = _cause(seen, ended, beside)
    if cause is not None:
        return replace(end, cause=cause, time_limit=None, clone_failure=None)
    if _was_stopped(seen, ended, beside):
        return replace(end, stopped=True, cause=None, time_limit=None)
    if seen.reason == "DeadlineExceeded":
        return replace(end, time_limit="job", cause=None)
    if seen.deleted_at is not None or beside.gone:
        return replace(end, cause=_deleted(seen, ended, beside))
    if ended is None and end.clone_failure is None:
        return replace(end, cause=_never_began(seen))
    return end


def _speaks_for_itself(seen: PodSeen, ended: Terminated) -> bool:
    """Whether nothing but itself can have ended the container."""
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
    """The node's clock and the API server's may differ a little."""
    if seen.deleted_at is None or ended.finished_at is None:
        return False
    return (seen.deleted_at - ended.finished_at).total_seconds() > seen.grace_seconds + SETTLING_SECONDS


def _is_final(seen: PodSeen, ended: Terminated | None, beside: Beside) -> bool:
    if beside.gone or seen.is_over:
        return True
    if ended is not None:
        return beside.seconds >= SETTLING_SECONDS
    return seen.deleted_at is not None and beside.seconds >= seen.grace_seconds + SILENT_SECONDS


def _of_exit(seen: PodSeen, ended: Terminated) -> PodEnd:
    cause = _of_failure(seen, ended)
    return PodEnd(
        exit_code=ended.exit_code,
        started_at=ended.started_at,
        finished_at=ended.finished_at,
        time_limit="job" if cause is None and job_timed_out(ended.exit_code, ended.message) else None,
        cause=cause,
        termination=ended.message,
    )


def _of_failure(seen: PodSeen, ended: Terminated) -> Cause | None:
    """What else than its script or its time may have made a job fail.

    A script that outlived a child without memory, and says all is well, is believed.
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
    """A service that ended before the job did, when all of them are told to end."""
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


def _cause(seen: PodSeen, ended: Terminated | None, beside: Beside) -> Cause | None:
    """What the cluster did to the pod, or we for a reason."""
    abandoned = beside.abandoned or _abandoned(seen)
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
    """As the annotation ENDED_BECAUSE says it."""
    return f"{cause.reason.value}: {cause.message}"


def _was_stopped(seen: PodSeen, ended: Terminated | None, beside: Beside) -> bool:
    if beside.stopped:
        return True
    asked = seen.active_deadline_seconds == STOPPED_DEADLINE_SECONDS
    return asked and (seen.reason == "DeadlineExceeded" or ended is None or ended.exit_code > 127)


def _deleted(seen: PodSeen, ended: Terminated | None, beside: Beside) -> Cause:
    if ended is None and not (seen.is_over or beside.gone):
        return Cause(
            Reason.NODE_LOST, f"The node {seen.node} has not answered since the pod's deletion was asked for."
        )
    return Cause(Reason.LOST, "The pod was deleted before the job had ended.")


def _never_began(seen: PodSeen) -> Cause | None:
    """The pod is over and the job's container never ran."""
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
