"""Decides the verdict of an attempt from an observation of its pod. Pure.

Missing information never counts as success. Every verdict but success has a reason and a message for users.
"""

import signal
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

from services.executor.backend import Cause, Observation, Outputs, Phase, Pod, PodEnd, Waiting
from services.executor.step_driver import STEP_TIMED_OUT_CODE
from services.executor.step_facts import Interruption, StepFact, StepOutcome, driver_began, step_facts
from services.executor.step_outputs import LIMIT_BYTES, OutputsProblem
from shared.pipeline.model import Job
from shared.statuses import REASONS_OF, Reason, Status, WaitingFor


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The final result of an attempt."""

    outcome: Status
    reason: Reason | None = None
    message: str | None = None
    exit_code: int | None = None
    steps: tuple[StepFact, ...] = ()
    outputs: Outputs = field(default_factory=dict)
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The values of a claimed attempt that its verdict depends on."""

    pod_uid: str
    job: Job
    run_timeout_seconds: int
    stop_reason: Reason | None
    """The reason of a requested stop, or None.

    A pod that stopped without a request exceeded its time limit.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class StartLimits:
    """Limits on how long an attempt may wait before its user code starts, by what it waits for."""

    unclaimed_seconds: float
    """The limit for an attempt without a claim, counted from its creation.

    All other limits except `quota_seconds` count from the claim.
    """
    quota_seconds: float
    """The limit for waiting for a quota, counted from the attempt's creation."""
    unscheduled_seconds: float
    image_pull_seconds: float
    start_seconds: float
    """The limit for any other wait, counted from the time at which this wait began."""
    grace_seconds: float

    def pod_seconds(self, job: Job) -> float:
        """Return how long after its claim a pod of this job can run at most.

        The bound holds even if only the pod's node can enforce it.
        """
        return (
            self.unscheduled_seconds
            + self.image_pull_seconds
            + self.start_seconds
            + job.timeout_seconds
            + 4 * (job.stop_grace_seconds or self.grace_seconds)
        )


def verdict(observation: Observation | None, claimed: Claimed) -> Verdict | None:
    """Return the verdict of the attempt, or None while it runs.

    Only the pod that holds the claim counts; another, gated pod is ignored. If the claimed pod is gone, the
    reason is `lost`, or the reason of the stop if one was requested.
    """
    pod = _claimed_pod(observation, claimed.pod_uid)
    if pod is None and claimed.stop_reason is not None:
        return stopped(claimed.stop_reason, "Stopped by request; its pod is gone.")
    if pod is None:
        return _lost("The pod that ran the job is gone, and nothing is left to say how it ended.")
    match pod.phase:
        case Phase.GATED | Phase.RELEASED:
            return None
        case Phase.LOST:
            return _lost("What supervised the job ended before the job did.")
        case Phase.ENDED:
            return _of_end(pod.end or PodEnd(), claimed)


def stopped(reason: Reason, message: str) -> Verdict:
    """Return the verdict of an attempt that was asked to stop.

    The outcome is `failed` if the run exceeded its time limit, else `cancelled`.
    """
    return Verdict(
        outcome=Status.FAILED if reason is Reason.TIMED_OUT else Status.CANCELLED,
        reason=reason,
        message=message,
    )


def not_started(seconds: float, why: str = "") -> Verdict:
    """Return the verdict of an attempt that could not be started in time."""
    words = why or "the executor's log says what was in the way"
    return _error(
        Reason.START_TIMED_OUT, f"The job could not be started within {_duration(round(seconds))}: {words}"
    )


def over_quota(seconds: float, why: str) -> Verdict:
    """Return the verdict of an attempt for which a quota had no room in time."""
    return _error(Reason.QUOTA, f"There was no room for the job within {_duration(round(seconds))}: {why}")


def too_slow(waiting: Waiting, seconds: float, limits: StartLimits) -> Cause | None:
    """Return the cause for abandoning a released pod that waits too long, or None if it may continue to wait.

    `seconds` is the time since the claim.
    """
    if waiting.what is WaitingFor.NODE:
        reason, limit, what = Reason.UNSCHEDULABLE, limits.unscheduled_seconds, "No node took the pod"
    elif waiting.what is WaitingFor.IMAGE:
        reason, limit, what = Reason.IMAGE_REGISTRY, limits.image_pull_seconds, "The image was not there"
    else:
        reason, limit, what = Reason.START_TIMED_OUT, limits.start_seconds, "The job did not begin"
        seconds = min(seconds, waiting.seconds)  # earlier waits had their own limits
    return (
        Cause(reason, f"{what} within {_duration(round(limit))}: {waiting.message}")
        if seconds >= limit
        else None
    )


def _claimed_pod(observation: Observation | None, uid: str) -> Pod | None:
    return next((pod for pod in observation.pods if pod.uid == uid), None) if observation else None


def _of_end(end: PodEnd, claimed: Claimed) -> Verdict:
    asked = claimed.stop_reason is not None
    interrupted: StepOutcome = (
        "cancelled" if end.stopped and asked else "timed_out" if end.time_limit or end.stopped else "failed"
    )
    steps = step_facts(
        end.termination, claimed.job.steps, end.started_at, Interruption(interrupted, end.finished_at)
    )
    weighed = _weigh(end, claimed, steps)
    ids = {step.id for step in claimed.job.steps}
    return replace(
        weighed,
        exit_code=end.exit_code,
        steps=tuple(steps),
        outputs={step: outputs for step, outputs in (end.outputs or {}).items() if step in ids},
        started_at=end.started_at,
    )


def _weigh(end: PodEnd, claimed: Claimed, steps: list[StepFact]) -> Verdict:
    """Decide by the strongest fact.

    The order is: a platform fault, a requested stop, a cause from the cluster, a time limit, the clone, the
    exit code.
    """
    if end.fault is not None:
        return _error(
            Reason.PLATFORM, f"The job could not be supervised: {end.fault.strip().splitlines()[-1]}"
        )
    if claimed.stop_reason is not None and (end.stopped or _is_the_clusters(end.cause)):
        return stopped(claimed.stop_reason, "Stopped by request.")
    if end.cause is not None:
        return _of_cause(end.cause)
    if end.stopped or end.time_limit is not None:
        return _of_limit("run" if end.time_limit == "run" else "job", claimed)
    if end.clone_failure is not None:
        return _error(Reason.CLONE_FAILED, end.clone_failure)
    return (
        _lost("The pod ended without having run the job.")
        if end.exit_code is None
        else _of_exit_code(end.exit_code, end, steps)
    )


def _of_limit(whose: Literal["job", "run"], claimed: Claimed) -> Verdict:
    seconds = claimed.job.timeout_seconds if whose == "job" else claimed.run_timeout_seconds
    return _timed_out(f"The {whose} ran longer than its limit of {_duration(seconds)}.")


def _of_exit_code(exit_code: int, end: PodEnd, steps: list[StepFact]) -> Verdict:
    if exit_code == 0:
        return _of_outputs(end.outputs_problem)
    if not driver_began(end.termination):
        return _error(
            Reason.PLATFORM,
            f"The job's shell could not be started (exit code {exit_code}); the log has its words.",
        )
    slow = next((step for step in steps if step.outcome == "timed_out"), None)
    if slow is not None and exit_code == STEP_TIMED_OUT_CODE:
        return _timed_out(f'The step "{slow.name}" ran longer than its limit.')
    failed = next((step for step in steps if step.outcome == "failed" and step.exit_code == exit_code), None)
    what = "The job" if failed is None else f'The step "{failed.name}"'
    return Verdict(outcome=Status.FAILED, reason=Reason.SCRIPT_FAILED, message=f"{what} {_how(exit_code)}.")


def _of_outputs(problem: OutputsProblem | None) -> Verdict:
    """Return the verdict of a job whose steps succeeded."""
    match problem:
        case None:
            return Verdict(outcome=Status.SUCCESS)
        case OutputsProblem.LOST:
            return _lost("The outputs of the job's steps were lost with the job's pod.")
        case OutputsProblem.TOO_LARGE:
            message = f"The outputs of the job's steps are larger than {LIMIT_BYTES >> 10} KiB together."
        case OutputsProblem.CHANGED:
            message = "A step has changed the file in which Towpath keeps the outputs of steps."
    return Verdict(outcome=Status.FAILED, reason=Reason.SCRIPT_FAILED, message=message)


def _of_cause(cause: Cause) -> Verdict:
    return Verdict(outcome=_outcome_of(cause.reason), reason=cause.reason, message=cause.message)


def _is_the_clusters(cause: Cause | None) -> bool:
    return cause is not None and _outcome_of(cause.reason) is Status.ERROR


def _outcome_of(reason: Reason) -> Status:
    return next(status for status, reasons in REASONS_OF.items() if reason in reasons)


def _how(exit_code: int) -> str:
    if exit_code > 128 and exit_code - 128 in {number.value for number in signal.Signals}:
        return f"was ended by {signal.Signals(exit_code - 128).name} (exit code {exit_code})"
    return f"ended with exit code {exit_code}"


def _duration(seconds: int) -> str:
    """Format a duration as in a pipeline: 90s, 20m, 2h."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _timed_out(message: str) -> Verdict:
    return Verdict(outcome=Status.FAILED, reason=Reason.TIMED_OUT, message=message)


def _lost(message: str) -> Verdict:
    return _error(Reason.LOST, message)


def _error(reason: Reason, message: str) -> Verdict:
    return Verdict(outcome=Status.ERROR, reason=reason, message=message)
