"""Run planning: builds a run's state and its jobs' definitions from a pipeline revision.

The jobs of a plan are in the state that the engine gives them before any attempt: jobs without needs are
ready, or wait for the run's concurrency group.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

import structlog

from services.scheduler.engine import fold
from shared.events import Event, context
from shared.matching import fork_policy
from shared.pipeline.expansion import Expansion, PlannedJob, expand, is_long
from shared.pipeline.inputs import Given
from shared.pipeline.model import Job, Pipeline
from shared.states import JobState, RunState
from shared.statuses import Reason, Status

_log = structlog.get_logger()

Definition = dict[str, Any]
_NO_INPUTS: Given = {}

_SELDOM = frozenset(
    {"condition", "allow_failure", "matrix", "matrix_values", "outputs", "templates", "contexts", "secrets"}
)
"""Fields of jobs that are left out of stored definitions while they have their defaults."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job of an earlier run, with the fields that a retry of the failed jobs needs."""

    id: int
    key: str
    status: Status
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a run, in the document's order."""

    state: RunState
    definitions: tuple[Definition, ...]
    names: tuple[str, ...]
    """The jobs' titles."""
    carried_from: Mapping[str, int]
    """Jobs that are not run again: the job's key, and the id of the job of the earlier run in its place."""
    timeout_seconds: int
    priority: int
    group: str | None
    """The name of the run's concurrency group."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier run of the same event: the revision that it ran, and its jobs."""

    pipeline: Pipeline | None
    """None if this release cannot read the revision. All jobs are then run again."""
    jobs: tuple[JobRecord, ...]


def plan(
    pipeline: Pipeline,
    event: Event,
    now: datetime,
    earlier: Earlier | None = None,
    inputs: Given = _NO_INPUTS,
) -> Plan:
    """Returns a plan in which every job runs, but those that are carried over from an earlier run.

    A job is carried over only if it and all jobs that it needs succeeded and have not changed since.
    """
    expansion = expand(pipeline, context(event), inputs)
    carried = _carried(expansion, earlier, event, inputs)
    states = tuple(_state(one, carried.get(one.job.key), now) for one in expansion.jobs)
    waits = fork_policy(event, pipeline) == "approve"
    before = RunState(jobs=states, in_group=expansion.group is None, awaits_approval=waits)
    state = fold(before, {}, now)
    jobs = [
        one.job if after.job is None else after.job
        for one, after in zip(expansion.jobs, state.jobs, strict=True)
    ]
    return Plan(
        state,
        tuple(definition_of(job) for job in jobs),
        tuple(job.name for job in jobs),
        {key: record.id for key, record in carried.items()},
        pipeline.timeout_seconds,
        expansion.priority,
        expansion.group,
    )


async def plan_apart(
    pipeline: Pipeline,
    event: Event,
    now: datetime,
    earlier: Earlier | None = None,
    inputs: Given = _NO_INPUTS,
) -> Plan:
    """Returns the plan. A long one is made in a thread, so that it does not hold the event loop.

    A pipeline that breaks the code gets a plan whose jobs have the error `platform`: the same event may start
    pipelines of other owners, which must run.
    """
    make = partial(plan, pipeline, event, now, earlier, inputs)
    try:
        return await asyncio.to_thread(make) if is_long(pipeline) else make()
    except Exception as error:  # noqa: BLE001 - any bug: the runs of other pipelines do not depend on it
        _log.exception("plan_failed", repository=event.repository)
        return _failed_plan(pipeline, type(error).__name__, now)


def _failed_plan(pipeline: Pipeline, error: str, now: datetime) -> Plan:
    """Returns a plan in which every job of the document has ended with an error."""
    message = f"The scheduler failed to plan this run ({error}). This is a bug of Towpath; its log has more."
    jobs = tuple(
        JobState(
            key=job.key,
            needs=job.needs,
            status=Status.ERROR,
            reason=Reason.PLATFORM,
            message=message,
            finished_at=now,
        )
        for job in pipeline.jobs
    )
    return Plan(
        fold(RunState(jobs=jobs), {}, now),
        tuple(definition_of(job) for job in pipeline.jobs),
        tuple(job.name for job in pipeline.jobs),
        {},
        pipeline.timeout_seconds,
        pipeline.priority,
        None,
    )


def definition_of(job: Job) -> Definition:
    """Returns the job as JSON, as the tables store it."""
    unused = {name for name in _SELDOM if not getattr(job, name)}
    return job.model_dump(mode="json", exclude=unused)


def needs_rules(job: Job) -> bool:
    """Returns True if the engine needs the job's definition to decide about it."""
    return bool(job.condition or job.matrix or job.outputs or job.allow_failure or job.contexts)


def _state(one: PlannedJob, carried: JobRecord | None, now: datetime) -> JobState:
    """Returns the state of a job before any attempt."""
    state = JobState(
        key=one.job.key,
        needs=one.needs,
        job=one.job if needs_rules(one.job) else None,
        condition=one.condition,
    )
    if carried is not None:
        return replace(state, status=Status.SUCCESS, outputs=carried.outputs, finished_at=now)
    if one.problem is not None:
        return replace(
            state,
            status=Status.ERROR,
            reason=Reason.CONFIG_INVALID,
            message=one.problem,
            finished_at=now,
        )
    if one.is_skipped:
        return replace(
            state,
            status=Status.SKIPPED,
            reason=Reason.CONDITION_FALSE,
            message=one.condition,
            finished_at=now,
        )
    return state


def _carried(
    expansion: Expansion, earlier: Earlier | None, event: Event, inputs: Given
) -> dict[str, JobRecord]:
    if earlier is None or earlier.pipeline is None:
        return {}
    before = {one.job.key: one for one in expand(earlier.pipeline, context(event), inputs).jobs}
    records = {record.key: record for record in earlier.jobs if record.status is Status.SUCCESS}
    same = {
        one.job.key: records[one.job.key]
        for one in expansion.jobs
        if one.job.key in records and before.get(one.job.key) == one
    }
    while changed := [
        one.job.key
        for one in expansion.jobs
        if one.job.key in same and any(need not in same for need in one.needs)
    ]:
        for key in changed:
            del same[key]
    return same
