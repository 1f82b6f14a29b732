"""A job whose attempt the cluster lost gets another attempt, as far as `retry: { infra }` allows.

The new attempt needs a new slot, and a loss never causes two attempts.
"""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from tests.harness.github import push
from tests.harness.waiting import until
from tests.integration.scheduler.world import World

RETRIED = """
version: 1
repository: octo/web
on: { push: {} }
jobs:
  build: { retry: { infra: 2, backoff: 1m }, steps: [{ run: make }] }
"""
WITH_ANOTHER = RETRIED + "  other: { steps: [{ run: make }] }\n"


async def started(world: World, yaml: str = RETRIED) -> int:
    """Create a run whose job `build` has the only slot. Return the id of the job.

    The job may have two more attempts.
    """
    await world.repository()
    await world.pipeline(yaml)
    await world.deliver(push(world.octo_web))
    world.scheduler = world.another_scheduler(over_all=1)
    await world.admission.admit()
    return int((await build(world))["id"])


async def build(world: World) -> Any:
    return (await world.jobs())["build"]


async def lose(world: World, job_id: int, reason: str = "evicted") -> int:
    return await world.run_job(job_id, "error", reason)


async def end_pause(world: World) -> None:
    await world.sql.execute("UPDATE jobs SET retry_at = now() WHERE retry_at IS NOT NULL")


async def admitted(world: World) -> list[tuple[int, int]]:
    """Return every (job, attempt) that was requested from executors, in order."""
    return [asked for message in await world.sent("attempt.ready") for asked in message.jobs]


async def test_a_lost_attempt_sends_its_job_back_to_wait_without_its_slot(world: World) -> None:
    job_id = await started(world)
    attempt_id = await lose(world, job_id)
    job = await build(world)
    assert (job["status"], job["reason"], job["waiting_for"], job["wanted_attempt"]) == (
        "pending",
        None,
        "retry_backoff",
        2,
    )
    assert (job["admitted_at"], job["slot_freed_at"], job["started_at"], job["finished_at"]) == (
        None,
        None,
        None,
        None,
    )
    pause = await world.value(
        "SELECT j.retry_at - a.finished_at FROM jobs j, attempts a WHERE j.id = $1 AND a.id = $2",
        job_id,
        attempt_id,
    )
    assert pause == timedelta(minutes=1)
    assert (await world.only_run())["status"] == "running"
    history = await world.rows(
        "SELECT from_status, to_status, reason, cause FROM transitions WHERE job_id = $1 ORDER BY id", job_id
    )
    assert [tuple(row) for row in history][-1] == ("running", "pending", "evicted", f"attempt:{attempt_id}")


async def test_the_slot_is_anothers_during_the_pause_and_taken_anew_after_it(world: World) -> None:
    job_id = await started(world, WITH_ANOTHER)
    await lose(world, job_id)
    other = (await world.jobs())["other"]["id"]
    assert [await world.admission.admit(), await world.admission.admit()] == [1, 0]
    await end_pause(world)
    assert await world.admission.admit() == 0
    await world.run_job(other)
    assert await world.admission.admit() == 1
    assert await admitted(world) == [(job_id, 1), (other, 1), (job_id, 2)]
    assert (await build(world))["waiting_for"] is None


async def test_the_last_attempt_decides(world: World) -> None:
    job_id = await started(world)
    await lose(world, job_id, "preempted")
    await end_pause(world)
    await world.admission.admit()
    await world.run_job(job_id)
    run, job = await world.only_run(), await build(world)
    assert (run["status"], job["status"], job["reason"], job["wanted_attempt"]) == (
        "success",
        "success",
        None,
        2,
    )
    attempts = await world.rows(
        "SELECT number, outcome, reason FROM attempts WHERE job_id = $1 ORDER BY number", job_id
    )
    assert [tuple(row) for row in attempts] == [(1, "error", "preempted"), (2, "success", None)]
    assert job["slot_freed_at"] == job["finished_at"]


async def test_no_more_attempts_are_made_than_the_job_allows(world: World) -> None:
    job_id = await started(world)
    for _ in range(3):
        await lose(world, job_id, "node_lost")
        await end_pause(world)
        await world.admission.admit()
    assert await admitted(world) == [(job_id, 1), (job_id, 2), (job_id, 3)]
    run, job = await world.only_run(), await build(world)
    assert (run["status"], run["reason"], job["status"], job["reason"]) == (
        "error",
        "node_lost",
        "error",
        "node_lost",
    )


@pytest.mark.parametrize("during", ["the pause", "the second attempt"])
async def test_what_the_first_attempt_says_late_is_not_heard(world: World, during: str) -> None:
    job_id = await started(world)
    first = await lose(world, job_id, "node_lost")
    if during == "the second attempt":
        await end_pause(world)
        await world.admission.admit()
        await world.tell_claimed(await world.claim(job_id))
    before = await world.rows("SELECT * FROM jobs ORDER BY id"), await world.rows("SELECT * FROM transitions")
    await world.tell_claimed(first)
    await world.finish(first, "success")
    await world.tell_finished(first, first)
    assert (
        await world.rows("SELECT * FROM jobs ORDER BY id"),
        await world.rows("SELECT * FROM transitions"),
    ) == before


async def test_two_schedulers_that_hear_of_a_loss_at_once_make_one_attempt(world: World) -> None:
    job_id = await started(world)
    attempt_id = await world.claim(job_id)
    await world.finish(attempt_id, "error", "evicted")
    run_id = (await world.only_run())["id"]
    await asyncio.gather(*(world.another_scheduler().consumers.fold([run_id]) for _ in range(4)))
    assert (await build(world))["wanted_attempt"] == 2


async def test_the_end_of_the_pause_wakes_admission(world: World) -> None:
    job_id = await started(world)
    await lose(world, job_id)
    await world.sql.execute("UPDATE jobs SET retry_at = now() + interval '0.3 seconds' WHERE id = $1", job_id)
    running = asyncio.create_task(world.admission.run())
    world.admission.wake()

    async def asked_again() -> bool:
        return (job_id, 2) in await admitted(world)

    try:
        await until(asked_again, within=5, what="the second attempt")
    finally:
        running.cancel()
    assert await world.value("SELECT admitted_at >= retry_at FROM jobs WHERE id = $1", job_id)


async def test_a_run_whose_time_is_over_in_the_pause_has_timed_out(world: World) -> None:
    job_id = await started(world)
    await lose(world, job_id)
    await world.sql.execute("UPDATE pipeline_runs SET started_at = now() - interval '1 day'")
    for check in [
        *world.scheduler.checks.checks()
    ] * 2:  # a deadline counts once the database has answered for a while
        await check.check()
    run, job = await world.only_run(), await build(world)
    assert (run["status"], job["status"], job["reason"]) == ("failed", "failed", "timed_out")
