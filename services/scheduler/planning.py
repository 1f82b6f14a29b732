"""Run planning: builds a run's state and its jobs' definitions from a pipeline revision.

The jobs of a plan are in the state that the engine gives them before any attempt: jobs without needs are
ready, or wait for the run's concurrency group.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.scheduler.engine import JobState, RunState, fold
from shared.pipeline.model import Job, Pipeline
from shared.statuses import Status

Definition = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job of an earlier run, with the fields that a retry of the failed jobs needs."""

    id: int
    name: str
    status: Status
    definition: Job | None
    """None if this release cannot read it. The job is then run again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a run, in the document's order."""

    state: RunState
    definitions: tuple[Definition, ...]
    carried_from: Mapping[str, int]
    """Jobs that are not run again: the job's name and the id of the job in the earlier run that replaces it.
    """
    timeout_seconds: int


def plan(pipeline: Pipeline, now: datetime) -> Plan:
    """Returns a plan in which every job runs."""
    return plan_again(pipeline, (), now)


def plan_again(pipeline: Pipeline, earlier: tuple[JobRecord, ...], now: datetime) -> Plan:
    """Returns a plan that carries over the jobs that succeeded in `earlier`.

    A job is carried over only if it and all jobs that it needs succeeded and have not changed since.
    """
    jobs = tuple(job.model_copy(update={"env": {**pipeline.env, **job.env}}) for job in pipeline.jobs)
    carried = _carried(jobs, {job.name: job for job in earlier})
    states = tuple(
        JobState(name=job.name, needs=job.needs, status=Status.SUCCESS, finished_at=now)
        if job.name in carried
        else JobState(name=job.name, needs=job.needs)
        for job in jobs
    )
    definitions = tuple(job.model_dump(mode="json") for job in jobs)
    state = RunState(jobs=states, in_group=pipeline.concurrency is None)
    return Plan(fold(state, {}, now), definitions, carried, pipeline.timeout_seconds)


def _carried(jobs: tuple[Job, ...], earlier: Mapping[str, JobRecord]) -> dict[str, int]:
    same = {
        job.name: earlier[job.name].id
        for job in jobs
        if job.name in earlier
        and earlier[job.name].status is Status.SUCCESS
        and earlier[job.name].definition == job
    }
    while changed := [
        job.name for job in jobs if job.name in same and any(need not in same for need in job.needs)
    ]:
        for name in changed:
            del same[name]
    return same
