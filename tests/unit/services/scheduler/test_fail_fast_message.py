"""Tests that a job stopped by `fail_fast` names the job that failed, also if it was running."""

from datetime import UTC, datetime, timedelta

import pytest

from services.scheduler.engine import fold
from shared.pipeline.model import Job, Matrix, Step
from shared.states import AttemptState, JobState, RunState
from shared.statuses import Reason, Status

START = datetime(2026, 1, 1, tzinfo=UTC)


def matrix_job(key: str) -> JobState:
    job = Job(id="test", key=key, name=key, matrix=Matrix(), steps=(Step(run="x"),))
    return JobState(key=key, job=job, admitted=True, ready_at=START, status=Status.PENDING)


@pytest.mark.parametrize("executors_message", [None, "The attempt was asked to stop."])
def test_a_running_job_that_fail_fast_stops_names_the_job_that_failed(executors_message: str | None) -> None:
    running = AttemptState(claimed_at=START)
    failed = AttemptState(
        claimed_at=START, finished_at=START, outcome=Status.FAILED, reason=Reason.SCRIPT_FAILED
    )
    stopped = AttemptState(
        claimed_at=START,
        finished_at=START + timedelta(seconds=1),
        outcome=Status.CANCELLED,
        message=executors_message,
    )
    run = RunState(jobs=(matrix_job("test (1)"), matrix_job("test (2)")))
    for facts in (
        {"test (1)": running, "test (2)": running},
        {"test (1)": failed, "test (2)": running},
        {"test (1)": failed, "test (2)": running},
        {"test (1)": failed, "test (2)": stopped},
    ):
        run = fold(run, facts, START)
    second = run.jobs[1]
    assert (second.status, second.reason) == (Status.CANCELLED, Reason.FAIL_FAST)
    assert second.message == "`test (1)` of its matrix failed while it ran."
