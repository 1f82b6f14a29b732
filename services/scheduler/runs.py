"""Run storage: creates runs from plans and applies the engine's changes to the tables.

The caller holds the transaction. The jobs of a run change only under the lock on the run. Changes, their
history and their messages are written in one transaction.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import structlog

from services.scheduler.concurrency import Membership
from services.scheduler.engine import enter, fold, stop
from services.scheduler.ordering import places_in_order
from services.scheduler.planning import Plan, definition_of
from services.scheduler.store import LockedRun, Row, SchedulerWork
from shared.messaging.messages import AttemptCancelRequested, RunCreated, RunFinished, RunStarted
from shared.pipeline.model import ForkPolicy
from shared.states import JobState, RunState
from shared.statuses import TERMINAL, Reason, Status
from shared.tracing import fields, set_trace

_log = structlog.get_logger()

Change = Callable[[RunState, datetime], RunState]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRun:
    """A run to be created: its plan, and the event, pipeline and repository that it belongs to."""

    plan: Plan
    pipeline_config_id: int
    revision_id: int
    event_id: int
    repository_id: int
    event_kind: str
    branch: str | None
    sha: str | None
    triggered_by: str
    cause: str
    membership: Membership | None = None
    fork_policy: ForkPolicy | None = None
    """None for trusted events. Runs with `approve` wait for an approval."""
    approval_seconds: float | None = None
    """The time in which it can be approved."""
    traceparent: str | None = None
    rerun: int = 0
    retry_of: int | None = None


async def create_runs(work: SchedulerWork, runs: Sequence[NewRun]) -> dict[tuple[int, int], int]:
    """Creates these runs; returns their ids by (event id, pipeline id).

    No other transaction may create the same (event, pipeline, rerun) at the same time: the caller has stored
    the event or has locked the earlier run.
    """
    if not runs:
        return {}
    counts: dict[int, int] = {}
    for run in runs:
        counts[run.pipeline_config_id] = counts.get(run.pipeline_config_id, 0) + 1
    numbers = await work.take_run_numbers(counts)
    places = await _places(work, runs)
    rows: list[Row] = []
    for one in runs:
        run = _placed(one, places)
        rows.append(_run_row(run, numbers[run.pipeline_config_id]))
        numbers[run.pipeline_config_id] += 1
    ids = await work.insert_runs(rows, [row for run in runs for row in _job_rows(run)])
    for run in runs:
        _log.debug(
            "run_inserted",
            run_id=ids[run.event_id, run.pipeline_config_id],
            event_id=run.event_id,
            **fields(run.traceparent),
        )
    work.send(RunCreated(run_ids=tuple(ids.values())))
    return ids


async def _places(work: SchedulerWork, runs: Sequence[NewRun]) -> dict[int, datetime]:
    """Returns the times at which events count as having happened, if these differ from their own times.

    Retries are left out, because a retry is as new as its command. The caller has taken run numbers: no other
    transaction creates runs of these pipelines, and what earlier ones stored is visible.
    """
    event_ids = {run.event_id for run in runs if run.membership is not None and run.rerun == 0}
    return places_in_order(await work.changes_around(event_ids)) if event_ids else {}


def _placed(run: NewRun, places: Mapping[int, datetime]) -> NewRun:
    if run.membership is None or run.rerun != 0 or run.event_id not in places:
        return run
    return replace(run, membership=replace(run.membership, order_at=places[run.event_id]))


async def fold_runs(work: SchedulerWork, run_ids: Iterable[int]) -> bool:
    """Applies what is recorded about attempts to these runs. Returns True if admission may have work."""
    runs = await work.lock_runs(run_ids)
    set_trace(run.traceparent for run in runs)
    return await change_runs(work, runs, lambda state, _now: state, None)


async def stop_runs(
    work: SchedulerWork, runs: Iterable[LockedRun], reason: Reason, cause: str, message: str | None = None
) -> bool:
    """Folds what is recorded, then ends the jobs without a slot and asks the other attempts to stop.

    `message` is what the ended jobs say. Returns True if admission may have work.
    """
    return await change_runs(work, runs, lambda state, now: stop(state, reason, cause, now, message), cause)


async def enter_groups(work: SchedulerWork, runs: Iterable[LockedRun], cause: str) -> bool:
    """Gives runs their places in their concurrency groups. Returns True if admission may have work."""
    return await change_runs(work, runs, enter, cause)


async def change_runs(
    work: SchedulerWork, runs: Iterable[LockedRun], change: Change, cause: str | None
) -> bool:
    """Folds what is recorded and applies the change. Returns True if admission may have work."""
    changed = [
        (run, after)
        for run in runs
        if (after := change(fold(run.state, run.attempts, run.locked_at), run.locked_at)) != run.state
    ]
    if not changed:
        return False
    jobs = [
        (run, before, after)
        for run, state in changed
        for before, after in zip(run.state.jobs, state.jobs, strict=True)
        if before != after
    ]
    moved = [(run, state) for run, state in changed if _without_jobs(state) != _without_jobs(run.state)]
    causes = {run.id: cause or _cause(run, state) for run, state in changed}
    await work.change_runs(
        [_job_update(run, before, after) for run, before, after in jobs],
        [_run_update(run, state) for run, state in moved],
        [
            _job_transition(run, before, after, causes[run.id])
            for run, before, after in jobs
            if before.status != after.status
        ]
        + [
            _transition(run.id, run.state.status, state.status, state.reason, causes[run.id])
            for run, state in moved
            if state.status != run.state.status
        ],
    )
    _announce(work, moved)
    _ask_to_stop(work, jobs)
    return any(state.status in TERMINAL for _, state in moved) or any(
        _concerns_admission(before, after) for _, before, after in jobs
    )


def _concerns_admission(before: JobState, after: JobState) -> bool:
    """Returns True if the job freed its slot or began to queue for one."""
    return (before.slot_freed_at, before.ready_at, before.admitted) != (
        after.slot_freed_at,
        after.ready_at,
        after.admitted,
    )


def _announce(work: SchedulerWork, moved: Sequence[tuple[LockedRun, RunState]]) -> None:
    started = tuple(
        run.id
        for run, state in moved
        if state.status is Status.RUNNING and run.state.status is not Status.RUNNING
    )
    finished = tuple(run.id for run, state in moved if state.status in TERMINAL)
    if started:
        work.send(RunStarted(run_ids=started))
    if finished:
        work.send(RunFinished(run_ids=finished))


def _ask_to_stop(work: SchedulerWork, jobs: Sequence[tuple[LockedRun, JobState, JobState]]) -> None:
    asked: dict[str, list[tuple[int, int]]] = {}
    for run, before, after in jobs:
        place = run.places[after.key]
        if (
            after.cancel_reason is not None
            and before.cancel_reason is None
            and place.wanted_attempt is not None
        ):
            asked.setdefault(place.cluster, []).append((place.id, place.wanted_attempt))
    work.send(
        *(AttemptCancelRequested(cluster=cluster, jobs=tuple(which)) for cluster, which in asked.items())
    )


def _without_jobs(state: RunState) -> tuple[object, ...]:
    return state.in_group, state.status, state.reason, state.started_at, state.finished_at


def _run_row(run: NewRun, number: int) -> Row:
    state = run.plan.state
    held, member = (run.membership, None) if state.awaits_approval else (None, run.membership)
    return {
        "pipeline_config_id": run.pipeline_config_id,
        "revision_id": run.revision_id,
        "event_id": run.event_id,
        "rerun": run.rerun,
        "number": number,
        "retry_of": run.retry_of,
        "triggered_by": run.triggered_by,
        "status": state.status,
        "reason": state.reason,
        "priority": run.plan.priority,
        "repository_id": run.repository_id,
        "event_kind": run.event_kind,
        "branch": run.branch,
        "sha": run.sha,
        "timeout_seconds": run.plan.timeout_seconds,
        "finished_at": state.finished_at,
        "cause": run.cause,
        "concurrency_group": member and member.group,
        "concurrency_limit": member and member.limit,
        "on_new": member and member.on_new,
        "group_order_at": member and member.order_at,
        "traceparent": run.traceparent,
        "fork_policy": run.fork_policy,
        "approval_seconds": run.approval_seconds if state.awaits_approval else None,
        "held_group": held and asdict(held),
    }


def _job_rows(run: NewRun) -> list[Row]:
    return [
        {
            "event_id": run.event_id,
            "pipeline_config_id": run.pipeline_config_id,
            "key": job.key,
            "name": name,
            "position": position,
            "needs": job.needs,
            "definition": definition,
            "has_rules": job.job is not None,
            "condition": job.condition,
            "outputs": job.outputs,
            "status": job.status,
            "reason": job.reason,
            "message": job.message,
            "waiting_for": job.waiting_for,
            "ready_at": job.ready_at,
            "carried_from": run.plan.carried_from.get(job.key),
            "finished_at": job.finished_at,
        }
        for position, (job, definition, name) in enumerate(
            zip(run.plan.state.jobs, run.plan.definitions, run.plan.names, strict=True)
        )
    ]


def _job_update(run: LockedRun, before: JobState, job: JobState) -> Row:
    """Returns the columns of a changed job. Its definition is None if it has not changed."""
    definition = None if job.job is None or job.job is before.job else definition_of(job.job)
    return {
        "id": run.places[job.key].id,
        "status": job.status,
        "reason": job.reason,
        "message": job.message,
        "waiting_for": job.waiting_for,
        "admitted": job.admitted,
        "attempt": job.attempt,
        "infra_retries": job.infra_retries,
        "script_retries": job.script_retries,
        "definition": definition,
        "condition": job.condition,
        "outputs": job.outputs,
        "retry_at": job.retry_at,
        "slot_freed_at": job.slot_freed_at,
        "cancel_reason": job.cancel_reason,
        "cancel_cause": job.cancel_cause,
        "ready_at": job.ready_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _run_update(run: LockedRun, state: RunState) -> Row:
    return {
        "id": run.id,
        "in_group": state.in_group,
        "status": state.status,
        "reason": state.reason,
        "started_at": state.started_at,
        "finished_at": state.finished_at,
    }


def _cause(run: LockedRun, state: RunState) -> str:
    """Returns the cause of the changes to a run that was only folded.

    This is the cause of a stop request if a job has ended because of it, otherwise the newest attempt of a
    changed job.
    """
    moved = {
        after.key: after for before, after in zip(run.state.jobs, state.jobs, strict=True) if before != after
    }
    if asked := next(filter(None, map(_asked_by, moved.values())), None):
        return asked
    attempts = [
        place.attempt_id for key, place in run.places.items() if key in moved and place.attempt_id is not None
    ]
    return f"attempt:{max(attempts)}" if attempts else f"run:{run.id}"


def _asked_by(job: JobState) -> str | None:
    """Returns the cause of the stop request if the job has ended because of it."""
    return job.cancel_cause if job.is_over and job.reason is job.cancel_reason else None


def _job_transition(run: LockedRun, before: JobState, after: JobState, cause: str) -> Row:
    """Returns the history row of a job.

    Its cause is the stop request if the job has ended because of it, otherwise the job's attempt, otherwise
    `cause`. A job that returns to `pending` gets the reason of its attempt.
    """
    place = run.places[after.key]
    by = _asked_by(after) or (cause if place.attempt_id is None else f"attempt:{place.attempt_id}")
    reason = run.attempts[after.key].reason if after.status is Status.PENDING else after.reason
    return _transition(run.id, before.status, after.status, reason, by) | {"job_id": place.id}


def _transition(run_id: int, before: Status, after: Status, reason: Reason | None, cause: str) -> Row:
    return {
        "run_id": run_id,
        "job_id": None,
        "from_status": before,
        "to_status": after,
        "reason": reason,
        "cause": cause,
    }
