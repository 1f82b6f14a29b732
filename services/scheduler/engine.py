"""Run engine: computes the next state of a run and its jobs from what is recorded about their attempts.

`fold`, `stop`, `enter` and `approve` take a state and return a new one, which the caller stores. Facts may
arrive twice, late or out of order: a terminal status never changes, and folding the same facts again changes
nothing. A run ends exactly when all its jobs have ended. Every job ends once the facts that it waits for have
arrived.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from shared.pipeline.expansion import ConfigInvalid, outputs_of
from shared.pipeline.values import PAUSE_LIMIT_SECONDS
from shared.readiness import decide
from shared.states import AttemptState, JobState, RunState
from shared.statuses import TERMINAL, WORST_FIRST, Reason, Status, WaitingFor

INFRA = frozenset({Reason.EVICTED, Reason.PREEMPTED, Reason.NODE_LOST, Reason.IMAGE_REGISTRY})
"""Reasons that the cluster causes and that another attempt may not meet.

`retry: { infra }` retries only after these.
"""

SCRIPT = frozenset({Reason.SCRIPT_FAILED, Reason.TIMED_OUT, Reason.OOM_KILLED, Reason.SERVICE_FAILED})
"""Reasons that the job's own code causes. `retry: { script }` retries only after these."""

FAIL_FAST_CAUSE = "fail_fast"
"""The cause of the end of jobs of a matrix of which another job has failed."""

_DECIDED = frozenset({WaitingFor.APPROVAL, WaitingFor.GROUP, WaitingFor.SLOT, WaitingFor.MAX_PARALLEL})
"""The waits of a job whose needs have ended and whose condition is true."""


def fold(run: RunState, attempts: Mapping[str, AttemptState], now: datetime) -> RunState:
    """Returns the run after applying what is recorded about its jobs' attempts (by job key).

    Folding the same again changes nothing.
    """
    jobs = [_after_attempt(job, attempts[job.key]) if job.key in attempts else job for job in run.jobs]
    return _settled(run, jobs, now)


def stop(run: RunState, reason: Reason, cause: str, now: datetime, message: str | None = None) -> RunState:
    """Returns the run after a request to end it.

    Jobs without a slot end at once; `message` is what they say. Attempts are asked to stop and keep their own
    verdict. If there are several requests, the first one counts.
    """
    jobs = [_after_stop(job, reason, cause, now) for job in run.jobs]
    if message is not None:
        jobs = [
            replace(job, message=message) if job.is_over and not was.is_over else job
            for was, job in zip(run.jobs, jobs, strict=True)
        ]
    return _settled(run, jobs, now)


def enter(run: RunState, now: datetime) -> RunState:
    """Returns the run with its place in its concurrency group. A finished run is returned unchanged."""
    return run if run.status in TERMINAL else _settled(replace(run, in_group=True), run.jobs, now)


def approve(run: RunState, now: datetime, *, in_group: bool) -> RunState:
    """Returns the run after its approval. `in_group` is False if it must still enter its group."""
    if run.status in TERMINAL:
        return run
    return _settled(replace(run, awaits_approval=False, in_group=in_group), run.jobs, now)


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
            message=job.message if job.cancel_reason is Reason.FAIL_FAST else None,
        )
    if again := _to_be_tried_again(job, attempt.reason, attempt.finished_at):
        return again
    status, reason = _verdict(job, attempt.outcome, attempt.reason)
    ended = replace(
        job,
        status=status,
        reason=reason,
        message=attempt.message if reason is not Reason.FAIL_FAST else job.message or attempt.message,
        waiting_for=None,
        started_at=job.started_at or attempt.claimed_at,
        finished_at=attempt.finished_at,
        slot_freed_at=attempt.finished_at,
    )
    return _with_outputs(ended, attempt)


def _with_outputs(job: JobState, attempt: AttemptState) -> JobState:
    """Returns the job with the outputs that its definition makes from those of its steps.

    Outputs that can't be made end a job that succeeded with an error. Another verdict is kept.
    """
    if job.job is None or not job.job.outputs:
        return job
    try:
        return replace(job, outputs=outputs_of(job.job, attempt.outputs))
    except ConfigInvalid as error:
        if job.status is not Status.SUCCESS:
            return job
        return replace(job, status=Status.ERROR, reason=Reason.CONFIG_INVALID, message=str(error))


def _to_be_tried_again(job: JobState, reason: Reason | None, ended_at: datetime) -> JobState | None:
    """Returns the job with its next attempt, or None if none may follow.

    The slot is free. The job queues for one again after a backoff, which doubles with each attempt up to
    `PAUSE_LIMIT_SECONDS`.
    """
    is_infra = reason in INFRA and job.infra_retries < job.retry.infra
    is_script = reason in SCRIPT and job.script_retries < job.retry.script
    if not (is_infra or is_script) or job.cancel_reason is not None:
        return None
    pause_seconds = min(job.retry.backoff_seconds << min(job.attempt - 1, 20), PAUSE_LIMIT_SECONDS)
    return replace(
        job,
        status=Status.PENDING,
        message=f"Attempt {job.attempt} ended with `{reason}`; attempt {job.attempt + 1} of at most "
        f"{job.retry.infra + job.retry.script + 1} follows.",
        waiting_for=WaitingFor.RETRY_BACKOFF,
        admitted=False,
        attempt=job.attempt + 1,
        infra_retries=job.infra_retries + is_infra,
        script_retries=job.script_retries + is_script,
        retry_at=ended_at + timedelta(seconds=pause_seconds),
        started_at=None,
    )


def _verdict(job: JobState, outcome: Status, reason: Reason | None) -> tuple[Status, Reason | None]:
    """Returns the status and reason of a job whose attempt ended.

    The executor only knows that it was asked to stop an attempt. The job has the reason for that request.
    """
    if outcome is Status.CANCELLED and job.cancel_reason is not None:
        return _stopped(job.cancel_reason)
    return outcome, reason


def _after_stop(
    job: JobState, why: Reason, cause: str, now: datetime, because: str = "It was stopped"
) -> JobState:
    """Returns the job after a request to end it. `because` begins the sentence about it for people."""
    if job.is_over or job.cancel_reason is not None:
        return job
    if job.admitted:
        message = f"{because} while it ran." if why is Reason.FAIL_FAST else job.message
        return replace(job, cancel_reason=why, cancel_cause=cause, message=message)
    status, reason = _stopped(why)
    when = "before it had started" if job.attempt == 1 else "before it was tried again"
    return replace(
        job,
        status=status,
        reason=reason,
        message=f"{because} {when}.",
        waiting_for=None,
        finished_at=now,
    )


def _stopped(why: Reason) -> tuple[Status, Reason]:
    return (Status.FAILED if why is Reason.TIMED_OUT else Status.CANCELLED), why


def _settled(run: RunState, jobs: Sequence[JobState], now: datetime) -> RunState:
    """Decides every job whose needs have ended, and repeats this until no job changes.

    A chain of skipped jobs takes as many rounds as the graph is deep.
    """
    by_key = {job.key: job for job in jobs}
    matrices = _matrices(jobs)
    is_moving = True
    while is_moving:
        is_moving = False
        for key, job in by_key.items():
            siblings = [by_key[other] for other in matrices.get(job.id, ())]
            after = _moved(job, by_key, siblings, run.gate, now)
            if after is not job:
                by_key[key], is_moving = after, True
    return _with_status(replace(run, jobs=tuple(by_key[job.key] for job in jobs)), now)


def _matrices(jobs: Sequence[JobState]) -> dict[str, list[str]]:
    """Returns the keys of the jobs of each matrix, by the key of the job in the document."""
    found: dict[str, list[str]] = {}
    for job in jobs:
        if job.job is not None and job.job.matrix is not None:
            found.setdefault(job.id, []).append(job.key)
    return found


def _moved(
    job: JobState,
    by_key: Mapping[str, JobState],
    siblings: Sequence[JobState],
    gate: WaitingFor | None,
    now: datetime,
) -> JobState:
    """Returns the job after its next change, or the job itself.

    `siblings` are the jobs of its matrix, `gate` is what all jobs of the run wait for.
    """
    if job.is_over:
        return job
    if (failed := _fails_fast(job, siblings)) is not None:
        because = f"`{failed.key}` of its matrix failed"
        return _after_stop(job, Reason.FAIL_FAST, FAIL_FAST_CAUSE, now, because)
    if job.ready_at is not None:
        return job
    decided = job
    if job.waiting_for not in _DECIDED:
        found = decide(job, [by_key[key] for key in job.needs], now)
        decided = replace(job, waiting_for=WaitingFor.DEPENDENCY) if found is None else found
        if found is None or found.is_over:
            return job if decided == job else decided
    wanted = _next_wait(siblings, gate)
    ready_at = now if wanted is WaitingFor.SLOT else None
    return job if job.waiting_for is wanted else replace(decided, waiting_for=wanted, ready_at=ready_at)


def _fails_fast(job: JobState, siblings: Sequence[JobState]) -> JobState | None:
    """Returns the failed job of a matrix that ends this one, if any."""
    matrix = None if job.job is None else job.job.matrix
    if matrix is None or not matrix.fail_fast or job.cancel_reason is not None:
        return None
    return next((one for one in siblings if one.result in (Status.FAILED, Status.ERROR)), None)


def _next_wait(siblings: Sequence[JobState], gate: WaitingFor | None) -> WaitingFor:
    """Returns what a job waits for whose needs have ended."""
    if gate is not None:
        return gate
    limits = [one.job.matrix.max_parallel for one in siblings if one.job is not None and one.job.matrix]
    limit = limits[0] if limits else None
    if limit is not None and sum(one.ready_at is not None and not one.is_over for one in siblings) >= limit:
        return WaitingFor.MAX_PARALLEL
    return WaitingFor.SLOT


def _with_status(run: RunState, now: datetime) -> RunState:
    if run.status in TERMINAL:
        return run
    starts = [job.started_at for job in run.jobs if job.started_at is not None]
    started_at = run.started_at or min(starts, default=None)
    if not all(job.is_over for job in run.jobs):
        return replace(
            run, status=Status.PENDING if started_at is None else Status.RUNNING, started_at=started_at
        )
    worst = min(run.jobs, key=lambda job: WORST_FIRST.index(job.result))
    ends = [job.finished_at for job in run.jobs if job.finished_at is not None]
    return replace(
        run,
        status=worst.result,
        reason=None if worst.counts_as_success else worst.reason,
        started_at=started_at,
        finished_at=max(ends, default=now),
    )
