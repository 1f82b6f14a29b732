"""Tests of the jobs of a run, when it is first planned and when it is retried."""

from datetime import UTC, datetime

from services.scheduler.planning import Earlier, JobRecord, Plan, plan
from shared.events import Event, EventKind
from shared.pipeline.load import load
from shared.pipeline.model import Job, Pipeline
from shared.statuses import Status, WaitingFor

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENT = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True, ref="refs/heads/main", branch="main")


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


def earlier(planned: Plan, **statuses: Status) -> Earlier:
    """Return a run of the pipeline with this plan."""
    return Earlier(
        pipeline(),
        tuple(
            JobRecord(position, job.key, statuses[job.key], {})
            for position, job in enumerate(planned.state.jobs, start=100)
        ),
    )


def test_jobs_without_needs_are_ready_and_the_others_wait() -> None:
    jobs = plan(pipeline(), EVENT, NOW).state.jobs
    assert [(job.key, job.needs, job.ready_at, job.waiting_for) for job in jobs] == [
        ("first", (), NOW, WaitingFor.SLOT),
        ("second", ("first",), None, WaitingFor.DEPENDENCY),
        ("third", ("second",), None, WaitingFor.DEPENDENCY),
    ]


def test_the_jobs_environment_lies_over_the_pipelines() -> None:
    first, second, _ = plan(pipeline(), EVENT, NOW).definitions
    assert first["env"] == {"LEVEL": "job", "COLOUR": "red"}
    assert second["env"] == {"LEVEL": "pipeline", "COLOUR": "red"}


def test_a_definition_is_read_back_as_the_job_it_was() -> None:
    planned = plan(pipeline(), EVENT, NOW)
    assert [Job.model_validate(definition).steps for definition in planned.definitions] == [
        job.steps for job in pipeline().jobs
    ]
    assert planned.timeout_seconds == 7200


def test_jobs_that_succeeded_are_carried_over() -> None:
    before = earlier(
        plan(pipeline(), EVENT, NOW), first=Status.SUCCESS, second=Status.FAILED, third=Status.SKIPPED
    )
    again = plan(pipeline(), EVENT, NOW, before)
    assert again.carried_from == {"first": 100}
    assert [(job.status, job.waiting_for) for job in again.state.jobs] == [
        (Status.SUCCESS, None),
        (Status.PENDING, WaitingFor.SLOT),
        (Status.PENDING, WaitingFor.DEPENDENCY),
    ]


def test_a_job_that_has_changed_since_runs_again_and_so_does_what_needs_it() -> None:
    before = earlier(
        plan(pipeline(), EVENT, NOW), first=Status.SUCCESS, second=Status.SUCCESS, third=Status.SUCCESS
    )
    changed = plan(pipeline("make check"), EVENT, NOW, before)
    assert changed.carried_from == {"first": 100}
    same = plan(pipeline(), EVENT, NOW, before)
    assert same.carried_from == {"first": 100, "second": 101, "third": 102}


def test_no_job_of_a_revision_that_can_not_be_read_is_carried_over() -> None:
    before = earlier(
        plan(pipeline(), EVENT, NOW), first=Status.SUCCESS, second=Status.SUCCESS, third=Status.FAILED
    )
    assert plan(pipeline(), EVENT, NOW, Earlier(None, before.jobs)).carried_from == {}
