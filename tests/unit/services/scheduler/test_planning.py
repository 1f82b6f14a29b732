"""Tests of the jobs of a run, when it is first planned and when it is retried."""

from datetime import UTC, datetime

from services.scheduler.planning import JobRecord, Plan, plan, plan_again
from shared.pipeline.load import load
from shared.pipeline.model import Job, Pipeline
from shared.statuses import Status, WaitingFor

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def pipeline(second: str = "make test") -> Pipeline:
    return load(f"""
version: 1
repository: octo/web
on: {{ push: {{}} }}
env: {{ LEVEL: pipeline, COLOUR: red }}
timeout: 2h
jobs:
  first: {{ env: {{ LEVEL: job }}, steps: [{{ run: make }}] }}
  second: {{ needs: [first], steps: [{{ run: {second} }}] }}
  third: {{ needs: [second], steps: [{{ run: make dist }}] }}
""")


def records(planned: Plan, **statuses: Status) -> tuple[JobRecord, ...]:
    """Return the jobs of a run with this plan."""
    return tuple(
        JobRecord(position, job.name, statuses[job.name], Job.model_validate(definition))
        for position, (job, definition) in enumerate(
            zip(planned.state.jobs, planned.definitions, strict=True), start=100
        )
    )


def test_jobs_without_needs_are_ready_and_the_others_wait() -> None:
    jobs = plan(pipeline(), NOW).state.jobs
    assert [(job.name, job.needs, job.ready_at, job.waiting_for) for job in jobs] == [
        ("first", (), NOW, WaitingFor.SLOT),
        ("second", ("first",), None, WaitingFor.DEPENDENCY),
        ("third", ("second",), None, WaitingFor.DEPENDENCY),
    ]


def test_the_jobs_environment_lies_over_the_pipelines() -> None:
    first, second, _ = plan(pipeline(), NOW).definitions
    assert first["env"] == {"LEVEL": "job", "COLOUR": "red"}
    assert second["env"] == {"LEVEL": "pipeline", "COLOUR": "red"}


def test_a_definition_is_read_back_as_the_job_it_was() -> None:
    planned = plan(pipeline(), NOW)
    assert [Job.model_validate(definition).steps for definition in planned.definitions] == [
        job.steps for job in pipeline().jobs
    ]
    assert planned.timeout_seconds == 7200


def test_jobs_that_succeeded_are_carried_over() -> None:
    earlier = records(plan(pipeline(), NOW), first=Status.SUCCESS, second=Status.FAILED, third=Status.SKIPPED)
    again = plan_again(pipeline(), earlier, NOW)
    assert again.carried_from == {"first": 100}
    assert [(job.status, job.waiting_for) for job in again.state.jobs] == [
        (Status.SUCCESS, None),
        (Status.PENDING, WaitingFor.SLOT),
        (Status.PENDING, WaitingFor.DEPENDENCY),
    ]


def test_a_job_that_has_changed_since_runs_again_and_so_does_what_needs_it() -> None:
    earlier = records(
        plan(pipeline(), NOW), first=Status.SUCCESS, second=Status.SUCCESS, third=Status.SUCCESS
    )
    assert plan_again(pipeline("make check"), earlier, NOW).carried_from == {"first": 100}
    assert plan_again(pipeline(), earlier, NOW).carried_from == {"first": 100, "second": 101, "third": 102}
