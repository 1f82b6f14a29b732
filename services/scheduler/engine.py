"""Run engine: computes the next state of a run and its jobs from what is recorded about their attempts.

`fold`, `stop` and `enter` take a state and return a new one; `services.scheduler.runs` stores it. Facts may
arrive twice, late or out of order: a terminal status never changes, and folding the same facts again changes
nothing. A run ends exactly when all its jobs have ended. Every job ends once the facts that it waits for have
arrived.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.pipeline.model import Retry
from shared.pipeline.values import PAUSE_LIMIT_SECONDS
from shared.statuses import TERMINAL, Reason, Status, WaitingFor

WORST_FIRST = (Status.ERROR, Status.FAILED, Status.CANCELLED, Status.SUCCESS, Status.SKIPPED)
"""Order of precedence: a run ends with the first of these statuses that one of its jobs has.

It takes that job's reason; of several such jobs, the first in the document's order counts. `error` comes
before `failed`, because after a platform failure it is unknown whether the code is correct. Both come before
`cancelled`.
"""

INFRA = frozenset({Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.IMAGE_REGISTRY})
"""Reasons that the cluster causes and that another attempt may not meet.

`retry: { infra }` retries only after these.
"""


_NEVER_AGAIN = Retry()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """State of a job. Its name identifies it within the run."""

    name: str
    needs: tuple[str, ...] = ()
    status: Status = Status.PENDING
    reason: Reason | None = None
    message: str | None = None
    waiting_for: WaitingFor | None = None
    ready_at: datetime | None = None
    """Time from which it queues for a slot: its needs were met and its run was in its group."""
    admitted: bool = False
    """True if it has a slot and an executor was asked to run its attempt."""
    attempt: int = 1
    """Number of its current attempt, or of its next one if it is not admitted."""
    retry: Retry = _NEVER_AGAIN
    retry_at: datetime | None = None
    """Earliest time of its next admission. Set when an attempt was lost and another one follows."""
    slot_freed_at: datetime | None = None
    cancel_reason: Reason | None = None
    """Reason for which its attempt was asked to stop."""
    cancel_cause: str | None = None
    """Cause of that request, for example `command:7`."""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run with its jobs in the document's order."""

    jobs: tuple[JobState, ...]
    in_group: bool = True
    """True if it has a place in its concurrency group, or needs none. Until then no job queues for a slot."""
    status: Status = Status.PENDING
    reason: Reason | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptState:
    """The executor's record of the attempt that a job wants."""

    claimed_at: datetime | None = None
    """None if user code has not started."""
    finished_at: datetime | None = None
    outcome: Status | None = None
    """Set together with `finished_at`: success, failed, error or cancelled."""
    reason: Reason | None = None
    message: str | None = None


def fold(run: RunState, attempts: Mapping[str, AttemptState], now: datetime) -> RunState:
    """Returns the run after applying what is recorded about its jobs' attempts (by job name).

    Folding the same again changes nothing.
    """
    jobs = [_after_attempt(job, attempts[job.name]) if job.name in attempts else job for job in run.jobs]
    return _settled(run, jobs, now)


def stop(run: RunState, reason: Reason, cause: str, now: datetime) -> RunState:
    """Returns the run after a request to end it.

    Jobs without a slot end at once. Attempts are asked to stop and keep their own verdict. If there are
    several requests, the first one counts.
    """
    return _settled(run, [_after_stop(job, reason, cause, now) for job in run.jobs], now)


def enter(run: RunState, now: datetime) -> RunState:
    """Returns the run with its place in its concurrency group. A finished run is returned unchanged."""
    return run if run.status in TERMINAL else _settled(replace(run, in_group=True), run.jobs, now)


def _after_attempt(job: JobState, attempt: AttemptState) -> JobState:
    if not job.admitted or job.is_over:
        return job
    if attempt.finished_at is None or attempt.outcome is None:
        if attempt.claimed_at is None:
            return job
        return replace(
            job,
            status=Status.RUNNING,
            started_at=job.started_at or attempt.claimed_at,
            waiting_for=None,
            message=None,
        )
    if attempt.reason in INFRA and job.attempt <= job.retry.infra and job.cancel_reason is None:
        return _to_be_tried_again(job, attempt.reason, attempt.finished_at)
    status, reason = _verdict(job, attempt.outcome, attempt.reason)
    return replace(
        job,
        status=status,
        reason=reason,
        message=attempt.message,
        waiting_for=None,
        started_at=job.started_at or attempt.claimed_at,
        finished_at=attempt.finished_at,
        slot_freed_at=attempt.finished_at,
    )


def _to_be_tried_again(job: JobState, reason: Reason, lost_at: datetime) -> JobState:
    """Returns the job after its attempt was lost: its slot is free and another attempt follows.

    It queues for a slot again after a backoff, which doubles with each attempt up to `PAUSE_LIMIT_SECONDS`.
    """
    pause_seconds = min(job.retry.backoff_seconds << (job.attempt - 1), PAUSE_LIMIT_SECONDS)
    return replace(
        job,
        status=Status.PENDING,
        message=f"Attempt {job.attempt} ended with `{reason}`; attempt {job.attempt + 1} of at most "
        f"{job.retry.infra + 1} follows.",
        waiting_for=WaitingFor.RETRY_BACKOFF,
        admitted=False,
        attempt=job.attempt + 1,
        retry_at=lost_at + timedelta(seconds=pause_seconds),
        started_at=None,
    )


def _verdict(job: JobState, outcome: Status, reason: Reason | None) -> tuple[Status, Reason | None]:
    """Returns the status and reason of a job whose attempt ended.

    The executor only knows that it was asked to stop an attempt. The job has the reason for that request.
    """
    if outcome is Status.CANCELLED and job.cancel_reason is not None:
        return _stopped(job.cancel_reason)
    return outcome, reason


def _after_stop(job: JobState, why: Reason, cause: str, now: datetime) -> JobState:
    if job.is_over or job.cancel_reason is not None:
        return job
    if job.admitted:
        return replace(job, cancel_reason=why, cancel_cause=cause)
    status, reason = _stopped(why)
    message = (
        "It was stopped before it had started."
        if job.attempt == 1
        else "It was stopped before it was tried again."
    )
    return replace(job, status=status, reason=reason, message=message, waiting_for=None, finished_at=now)


def _stopped(why: Reason) -> tuple[Status, Reason]:
    return (Status.FAILED if why is Reason.TIMED_OUT else Status.CANCELLED), why


def _settled(run: RunState, jobs: Sequence[JobState], now: datetime) -> RunState:
    """Decides every job whose needs have ended, and repeats this until no job changes.

    A chain of skipped jobs takes as many rounds as the graph is deep.
    """
    by_name = {job.name: job for job in jobs}
    while moved := list(_moves(by_name, run.in_group, now)):
        by_name.update((job.name, job) for job in moved)
    return _with_status(replace(run, jobs=tuple(by_name[job.name] for job in jobs)), now)


def _moves(by_name: Mapping[str, JobState], in_group: bool, now: datetime) -> Iterator[JobState]:
    for job in by_name.values():
        if job.is_over or job.ready_at is not None:
            continue
        needs = [by_name[name] for name in job.needs]
        failed = next((need for need in needs if need.is_over and need.status is not Status.SUCCESS), None)
        if failed is not None:
            yield _skipped(job, failed, now)
            continue
        wanted = (
            WaitingFor.DEPENDENCY
            if not all(need.is_over for need in needs)
            else WaitingFor.SLOT
            if in_group
            else WaitingFor.GROUP
        )
        if job.waiting_for is not wanted:
            yield replace(job, waiting_for=wanted, ready_at=now if wanted is WaitingFor.SLOT else None)


def _skipped(job: JobState, failed: JobState, now: datetime) -> JobState:
    return replace(
        job,
        status=Status.SKIPPED,
        reason=Reason.DEPENDENCY_FAILED,
        message=f"It needs `{failed.name}`, which did not end well.",
        waiting_for=None,
        finished_at=now,
    )


def _with_status(run: RunState, now: datetime) -> RunState:
    if run.status in TERMINAL:
        return run
    starts = [job.started_at for job in run.jobs if job.started_at is not None]
    started_at = run.started_at or min(starts, default=None)
    if not all(job.is_over for job in run.jobs):
        return replace(
            run, status=Status.PENDING if started_at is None else Status.RUNNING, started_at=started_at
        )
    worst = min(run.jobs, key=lambda job: WORST_FIRST.index(job.status))
    ends = [job.finished_at for job in run.jobs if job.finished_at is not None]
    return replace(
        run,
        status=worst.status,
        reason=worst.reason,
        started_at=started_at,
        finished_at=max(ends, default=now),
    )
