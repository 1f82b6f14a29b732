"""What a run consists of: its row and its jobs' rows, from a revision and what happened. Pure.

A plan's jobs stand as the engine leaves them before anything has happened: those without needs are ready.
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
    """A job of an earlier run, as far as a retry of only the failed ones looks at it."""

    id: int
    name: str
    status: Status
    definition: Job | None
    """None: this release can't read it, so the job is run again."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs of a run, in the document's order."""

    state: RunState
    definitions: tuple[Definition, ...]
    carried_from: Mapping[str, int]
    """By name, the jobs that are not run again, and the job of the earlier run that each stands for."""
    timeout_seconds: int


def plan(pipeline: Pipeline, now: datetime) -> Plan:
    """Every job runs."""
    return plan_again(pipeline, (), now)


def plan_again(pipeline: Pipeline, earlier: tuple[JobRecord, ...], now: datetime) -> Plan:
    """The jobs that succeeded in `earlier` are carried over, where neither they nor what they need have
    changed since.
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
