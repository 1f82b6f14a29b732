"""A job that does not run yet shows what it waits for.

It waits in the queue, on the cluster, or between two attempts.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.gateway.history import AT, History
from tests.integration.gateway.serving import Serving

LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
FAR_OFF = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


@pytest.fixture
async def run_id(served: Serving, history: History) -> int:
    _, owner = await served.person()
    repository = await served.repository()
    return await history.run(await served.pipeline(owner), repository["id"])


async def shown(served: Serving, run_id: int) -> dict[str, Any]:
    """Return the only job of the run, as the API shows it."""
    (job,) = (await served.admin.get(f"/runs/{run_id}")).expect(200).json["jobs"]
    return dict(job)


@pytest.mark.parametrize("status", ["pending", "running"])
async def test_an_admitted_job_waits_for_what_its_attempt_waits_for(
    served: Serving, history: History, run_id: int, status: str
) -> None:
    job_id = await history.job(run_id, status=status, admitted_at=AT, wanted_attempt=2, ready_at=AT)
    await history.attempt(
        job_id, 1, status="finished", outcome="error", reason="evicted", message="The node was low on memory."
    )
    await history.attempt(
        job_id, 2, waiting_for="node", message="0/3 nodes are available: 3 Insufficient cpu."
    )
    job = await shown(served, run_id)
    assert (job["waiting_for"], job["message"], job["place"]) == (
        "node",
        "0/3 nodes are available: 3 Insufficient cpu.",
        None,
    )
    assert [
        (attempt["number"], attempt["reason"], attempt["waiting_for"]) for attempt in job["attempts"]
    ] == [(1, "evicted", None), (2, None, "node")]


async def test_an_admitted_job_whose_attempt_waits_for_nothing_waits_for_nothing(
    served: Serving, history: History, run_id: int
) -> None:
    job_id = await history.job(run_id, status="running", admitted_at=AT, wanted_attempt=1, ready_at=AT)
    await history.attempt(job_id)
    job = await shown(served, run_id)
    assert (job["waiting_for"], job["message"]) == (None, None)


async def test_a_job_that_is_over_keeps_its_own_word(served: Serving, history: History, run_id: int) -> None:
    job_id = await history.job(
        run_id,
        status="error",
        reason="quota",
        message="It waited too long.",
        admitted_at=AT,
        wanted_attempt=1,
        finished_at=AT,
    )
    await history.attempt(job_id, waiting_for="quota", message="exceeded quota: builds")
    job = await shown(served, run_id)
    assert (job["waiting_for"], job["message"]) == (None, "It waited too long.")


async def test_a_job_between_two_attempts_says_when_the_next_may_begin(
    served: Serving, history: History, run_id: int
) -> None:
    job_id = await history.job(
        run_id,
        waiting_for="retry_backoff",
        message="Attempt 1 ended with `evicted`.",
        wanted_attempt=2,
        ready_at=LONG_AGO,
        order_key=LONG_AGO,
        retry_at=FAR_OFF,
    )
    await history.attempt(
        job_id, 1, status="finished", outcome="error", reason="evicted", message="The node was low on memory."
    )
    job = await shown(served, run_id)
    assert (job["waiting_for"], job["retry_at"], job["place"]) == (
        "retry_backoff",
        "2100-01-01T00:00:00.000000Z",
        None,
    )
    assert job["message"] == "Attempt 1 ended with `evicted`."
    await history.connection.execute(
        "UPDATE jobs SET retry_at = $2 WHERE id = $1", job_id, LONG_AGO + timedelta(hours=1)
    )
    job = await shown(served, run_id)
    assert (job["waiting_for"], job["place"]) == ("slot", 0)
    await history.connection.execute(
        "UPDATE jobs SET admitted_at = now() WHERE id = $1", job_id
    )  # so that other tests' jobs do not wait behind it
