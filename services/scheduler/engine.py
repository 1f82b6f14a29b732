"""How a run moves: from what is known of its jobs and their attempts to what each job and the run itself are
next. Pure.

Facts may come twice, late, or in any order: a terminal status never changes, and folding what is folded
already changes nothing. A run ends exactly when all its jobs have ended, and every job ends once the facts it
waits for have come.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from shared.pipeline.model import Retry
from shared.pipeline.values import PAUSE_LIMIT_SECONDS
from shared.statuses import TERMINAL, Reason, Status, WaitingFor

WORST_FIRST = (Status.ERROR, Status.FAILED, Status.CANCELLED, Status.SUCCESS, Status.SKIPPED)
"""A run ends with the first of these that one of its jobs has, and with that job's reason (of several, the
first in the document's order).

A platform that failed outweighs code that failed, for then the verdict on the code is not known; both
outweigh a stop.
"""

INFRA = frozenset({Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.IMAGE_REGISTRY})
"""Ends that the cluster brought about and that another attempt may not meet: these alone does `retry: { infra
}` try again.
"""


_NEVER_AGAIN = Retry()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """A job as the engine sees it. Its name is its identity within the run."""

    name: str
    needs: tuple[str, ...] = ()
    status: Status = Status.PENDING
    reason: Reason | None = None
    message: str | None = None
    waiting_for: WaitingFor | None = None
    ready_at: datetime | None = None
    """When its needs were met: it queues for a slot from then on."""
    admitted: bool = False
    """It has a slot, and an executor was asked for its attempt."""
    attempt: int = 1
    """The number of the attempt that it wants, or will want once it is admitted."""
    retry: Retry = _NEVER_AGAIN
    retry_at: datetime | None = None
    """Not admitted before: an attempt was lost, and there will be another."""
    slot_freed_at: datetime | None = None
    cancel_reason: Reason | None = None
    """Its attempt was asked to stop, for this reason."""
    cancel_cause: str | None = None
    """What asked for that."""
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
    """It has a place in its concurrency group, or needs none. Before that no job queues for a slot."""
    status: Status = Status.PENDING
    reason: Reason | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptState:
    """What the executor has recorded about the attempt that a job wants."""

    claimed_at: datetime | None = None
    """None: user code has not started."""
    finished_at: datetime | None = None
    outcome: Status | None = None
    """With `finished_at`: success, failed, error or cancelled."""
    reason: Reason | None = None
    message: str | None = None


def fold(run: RunState, attempts: Mapping[str, AttemptState], now: datetime) -> RunState:
    """The run after what is known about its jobs' attempts (by job name).

    Folding the same again changes nothing.
    """
    jobs = [_after_attempt(job, attempts[job.name]) if job.name in attempts else job for job in run.jobs]
    return _settled(run, jobs, now)


def stop(run: RunState, reason: Reason, cause: str, now: datetime) -> RunState:
    """The run after a wish to end it: jobs without a slot end at once, attempts are asked to stop and keep
    their true verdict. The first wish counts.
    """
    return _settled(run, [_after_stop(job, reason, cause, now) for job in run.jobs], now)


def enter(run: RunState, now: datetime) -> RunState:
    """The run with its place in its concurrency group; one that is over takes none."""
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
    """Its slot is free from here on; it queues for one again when the pause is over, which is twice as long
    each time.
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
    """The executor knows only that it was asked to stop; why is the job's to say."""
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
    """Decides every job whose needs have ended, again and again until nothing moves (a chain of skips is as
    long as the graph is deep).
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
