"""Concurrency groups in the tables: a group of one never has two live attempts.

This holds for every number of schedulers, for cancelled runs, and for every order of webhooks.
"""

import asyncio
from typing import Any

import pytest

from services.scheduler.store import open_store
from tests.harness.github import FakeRepository, push
from tests.integration.scheduler.world import World

GROUPED = """
version: 1
repository: octo/web
on: {{ push: {{}} }}
concurrency: {{ group: "${{{{ event.branch }}}}", limit: {limit}, on_new: {on_new} }}
jobs:
  build: {{ steps: [{{ run: make }}] }}
"""


async def grouped(world: World, on_new: str, limit: int = 1) -> int:
    await world.repository()
    return await world.pipeline(GROUPED.format(on_new=on_new, limit=limit))


async def pushed(world: World, *, at: int | None = None, branch: str = "main") -> int:
    """Decide a push and admit its jobs as far as possible. Return the id of its run.

    `at` is the forge's time in seconds after a fixed instant.
    """
    payload = push(world.octo_web, ref=f"refs/heads/{branch}")
    if at is not None:
        payload["repository"] = payload["repository"] | {"pushed_at": 1_700_000_000 + at}
    await world.deliver(payload)
    await admit(world)
    return int(await world.value("SELECT max(id) FROM pipeline_runs"))


async def admit(world: World) -> None:
    """Admit jobs until nothing changes."""
    before: Any = None
    while before != (now := await world.rows("SELECT status, admitted_at FROM jobs ORDER BY id")):
        before = now
        await world.admission.admit()


async def run(world: World, run_id: int) -> tuple[str, str | None]:
    (row,) = await world.rows("SELECT status, reason FROM pipeline_runs WHERE id = $1", run_id)
    return row["status"], row["reason"]


async def build(world: World, run_id: int) -> Any:
    return (await world.jobs(run_id))["build"]


async def under_way(world: World) -> list[int]:
    """Return the runs that have a job with a slot."""
    return [
        row["run_id"]
        for row in await world.rows(
            "SELECT run_id FROM jobs WHERE admitted_at IS NOT NULL AND slot_freed_at IS NULL ORDER BY run_id"
        )
    ]


async def test_a_second_run_waits_until_the_first_is_over(world: World) -> None:
    await grouped(world, "queue")
    first, second = await pushed(world), await pushed(world)
    job = await build(world, second)
    assert (job["status"], job["waiting_for"], job["ready_at"]) == ("pending", "group", None)
    assert await under_way(world) == [first]
    await world.run_job((await build(world, first))["id"])
    await admit(world)
    assert await under_way(world) == [second]


async def test_groups_of_other_names_and_repositories_do_not_wait_for_one_another(world: World) -> None:
    await grouped(world, "queue")
    await world.repository("octo/site")
    await world.pipeline(GROUPED.format(on_new="queue", limit=1).replace("octo/web", "octo/site"))
    runs = [await pushed(world), await pushed(world, branch="next")]
    world.octo_web = type(world.octo_web)("octo/site")
    runs.append(await pushed(world))
    assert await under_way(world) == runs


async def test_as_many_are_under_way_as_the_limit_says(world: World) -> None:
    await grouped(world, "queue", limit=2)
    runs = [await pushed(world) for _ in range(4)]
    assert await under_way(world) == runs[:2]


async def test_a_newer_run_stops_the_older_and_starts_when_its_attempt_is_over(world: World) -> None:
    await grouped(world, "cancel_older")
    older = await pushed(world, at=1)
    attempt_id = await world.claim((await build(world, older))["id"])
    await world.tell_claimed(attempt_id)
    newer = await pushed(world, at=2)
    assert (await build(world, older))["cancel_reason"] == "superseded"
    assert ((await build(world, newer))["waiting_for"], await under_way(world)) == ("group", [older])
    await world.finish(attempt_id, "cancelled")
    await world.tell_finished(attempt_id)
    await admit(world)
    assert (await run(world, older), await under_way(world)) == (("cancelled", "superseded"), [newer])
    causes = (
        "SELECT array_agg(cause ORDER BY id) FROM transitions WHERE run_id = $1 AND to_status = 'cancelled'"
    )
    assert await world.value(causes, older) == [f"run:{newer}"] * 2, "of the job and of the run"


async def test_an_older_push_that_comes_late_does_not_stop_a_newer_one(world: World) -> None:
    await grouped(world, "cancel_older")
    newer = await pushed(world, at=2)
    late = await pushed(world, at=1)
    assert (await run(world, late), await under_way(world)) == (("cancelled", "superseded"), [newer])
    await world.run_job((await build(world, newer))["id"])
    later = await pushed(world, at=0)
    assert await run(world, later) == ("cancelled", "superseded")
    assert (
        await world.value(
            "SELECT cause FROM transitions WHERE run_id = $1 AND to_status = 'cancelled' LIMIT 1", later
        )
        == f"run:{newer}"
    )


async def test_a_forge_whose_clock_is_ahead_does_not_hold_up_the_group(world: World) -> None:
    await grouped(world, "cancel_older")
    await pushed(world, at=10**9)
    newer = await pushed(world, at=10**9)
    await admit(world)
    assert (await build(world, newer))["cancel_reason"] is None
    assert (await build(world, newer))["status"] == "pending"


async def test_of_those_that_wait_only_the_latest_stays(world: World) -> None:
    await grouped(world, "keep_latest_pending")
    runs = [await pushed(world, at=at) for at in range(4)]
    assert [await run(world, run_id) for run_id in runs[1:3]] == [("cancelled", "superseded")] * 2
    assert await under_way(world) == runs[:1]
    await world.run_job((await build(world, runs[0]))["id"])
    await admit(world)
    assert await under_way(world) == runs[3:]


async def test_a_run_without_a_place_is_rejected(world: World) -> None:
    await grouped(world, "reject")
    first, second = await pushed(world), await pushed(world)
    assert (await run(world, second), await under_way(world)) == (("cancelled", "rejected"), [first])
    await world.run_job((await build(world, first))["id"])
    third = await pushed(world)
    assert await under_way(world) == [third]


async def test_a_cancelled_run_that_waits_gives_up_its_turn(world: World) -> None:
    await grouped(world, "queue")
    runs = [await pushed(world) for _ in range(3)]
    await world.apply(await world.command("cancel", runs[1]))
    assert await run(world, runs[1]) == ("cancelled", "cancelled_by_user")
    await world.run_job((await build(world, runs[0]))["id"])
    await admit(world)
    assert await under_way(world) == [runs[2]]


async def test_a_place_is_kept_until_the_attempt_is_over_not_until_it_is_asked_to_stop(world: World) -> None:
    await grouped(world, "queue")
    first, second = await pushed(world), await pushed(world)
    attempt_id = await world.claim((await build(world, first))["id"])
    await world.tell_claimed(attempt_id)
    await world.apply(await world.command("cancel", first))
    await admit(world)
    assert (await under_way(world), (await build(world, second))["waiting_for"]) == ([first], "group")


async def test_a_retry_is_the_newest_of_its_group(world: World) -> None:
    await grouped(world, "cancel_older")
    failed = await pushed(world, at=1)
    await world.run_job((await build(world, failed))["id"], "failed", "script_failed")
    newer = await pushed(world, at=2)
    await world.apply(await world.command("retry", failed))
    await admit(world)
    again = await world.value("SELECT id FROM pipeline_runs WHERE retry_of = $1", failed)
    assert (await build(world, newer))["cancel_reason"] == "superseded"
    assert (await build(world, again))["waiting_for"] == "group"


@pytest.mark.parametrize("on_new", ["queue", "cancel_older", "keep_latest_pending", "reject"])
async def test_many_schedulers_at_once_never_let_two_in(world: World, on_new: str) -> None:
    await grouped(world, on_new)
    deliveries = [await world.delivery(push(world.octo_web)) for _ in range(12)]
    schedulers = [world.another_scheduler() for _ in range(4)]

    async def work(number: int) -> None:
        for delivery_id in deliveries[number::4]:
            await world.decide(delivery_id)
            await schedulers[number].admission.admit()

    await asyncio.gather(*map(work, range(4)))
    finished = 0
    while ids := await under_way(world):
        assert len(ids) == 1
        await world.run_job((await build(world, ids[0]))["id"])
        finished += 1
        await asyncio.gather(*(scheduler.admission.admit() for scheduler in schedulers))
        await admit(world)
    assert finished >= 1
    assert await world.value("SELECT count(*) FROM pipeline_runs WHERE status IN ('pending', 'running')") == 0
    if on_new == "queue":
        assert finished == len(deliveries)


async def test_a_run_that_somebody_holds_does_not_hold_up_the_others(world: World) -> None:
    await grouped(world, "queue")
    await world.deliver(push(world.octo_web))
    await world.repository("octo/site")
    await world.pipeline(GROUPED.format(on_new="queue", limit=1).replace("octo/web", "octo/site"))
    await world.deliver(push(FakeRepository("octo/site")))
    held, free = [row["id"] for row in await world.rows("SELECT id FROM pipeline_runs ORDER BY id")]
    async with open_store(world.database).transaction() as elsewhere:
        await elsewhere.lock_runs([held])
        await admit(world)
        assert await under_way(world) == [free]
    await admit(world)
    assert await under_way(world) == [held, free]


async def test_a_reconciler_finds_runs_that_wait_for_their_group(world: World) -> None:
    """The message that would have woken admission was lost."""
    await grouped(world, "queue")
    await world.deliver(push(world.octo_web))
    assert await world.sql.fetchval("SELECT count(*) FROM jobs WHERE ready_at IS NOT NULL") == 0
    await world.scheduler.checks.jobs_not_admitted()
    assert world.admission._woken.is_set()
