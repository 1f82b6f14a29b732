"""Pull requests whose deliveries arrive in any order."""

import pytest

from tests.harness.github import pull_request
from tests.integration.scheduler.world import World

NOON, LATER, LATEST = "2026-11-20T12:00:00Z", "2026-11-20T12:00:05Z", "2026-11-20T12:00:09Z"


async def arrive(world: World, action: str, at: str) -> int:
    return await world.deliver(pull_request(world.octo_web, action=action, updated_at=at), "pull_request")


@pytest.fixture
async def ready(world: World) -> World:
    await world.repository()
    await world.pipeline()
    return world


async def test_an_opened_that_arrives_after_its_closing_makes_no_run(ready: World) -> None:
    await arrive(ready, "closed", LATER)
    await arrive(ready, "opened", NOON)
    assert await ready.rows("SELECT * FROM pipeline_runs") == []
    assert [row["outcome"] for row in await ready.rows("SELECT outcome FROM decisions ORDER BY id")] == [
        "not_matched",
        "superseded",
    ]


async def test_an_opened_in_one_batch_with_its_closing_makes_no_run(ready: World) -> None:
    opening = await ready.delivery(
        pull_request(ready.octo_web, action="opened", updated_at=NOON), "pull_request"
    )
    closing = await ready.delivery(
        pull_request(ready.octo_web, action="closed", updated_at=LATER), "pull_request"
    )
    await ready.decide(opening, closing)
    assert await ready.rows("SELECT * FROM pipeline_runs") == []


async def test_a_closing_ends_the_run_that_has_not_started(ready: World) -> None:
    await arrive(ready, "opened", NOON)
    closing = await arrive(ready, "closed", LATER)
    run = await ready.only_run()
    assert (run["status"], run["reason"]) == ("cancelled", "superseded")
    assert await ready.statuses() == {"build": "cancelled"}
    event_id = await ready.value("SELECT id FROM events WHERE delivery_id = $1", closing)
    assert (
        await ready.value(
            "SELECT cause FROM transitions WHERE run_id = $1 AND job_id IS NULL ORDER BY id DESC LIMIT 1",
            run["id"],
        )
        == f"event:{event_id}"
    )
    (finished,) = await ready.sent("run.finished")
    assert finished.run_ids == (run["id"],)


async def test_a_closing_asks_an_admitted_attempt_to_stop(ready: World) -> None:
    await arrive(ready, "opened", NOON)
    await ready.admission.admit()
    await arrive(ready, "closed", LATER)
    job = (await ready.jobs())["build"]
    (asked,) = await ready.sent("attempt.cancel_requested")
    assert asked.jobs == ((job["id"], 1),)
    assert (job["status"], job["cancel_reason"]) == ("pending", "superseded")


async def test_a_closing_leaves_a_started_run_alone(ready: World) -> None:
    await arrive(ready, "opened", NOON)
    await ready.admission.admit()
    await ready.tell_claimed(await ready.claim((await ready.jobs())["build"]["id"]))
    await arrive(ready, "closed", LATER)
    assert (await ready.only_run())["status"] == "running"
    assert await ready.sent("attempt.cancel_requested") == []


async def test_a_closing_leaves_a_run_alone_whose_start_was_not_told_yet(ready: World) -> None:
    await arrive(ready, "opened", NOON)
    await ready.admission.admit()
    await ready.claim((await ready.jobs())["build"]["id"])
    await arrive(ready, "closed", LATER)
    assert (await ready.jobs())["build"]["cancel_reason"] is None
    assert await ready.sent("attempt.cancel_requested") == []


async def test_a_late_closing_leaves_the_reopened_pull_requests_run_alone(ready: World) -> None:
    await arrive(ready, "reopened", LATEST)
    await arrive(ready, "closed", LATER)
    assert (await ready.only_run())["status"] == "pending"


async def test_a_pull_request_reopened_after_its_closing_runs(ready: World) -> None:
    await arrive(ready, "closed", LATER)
    await arrive(ready, "reopened", LATER)
    await arrive(ready, "synchronize", LATEST)
    assert [run["status"] for run in await ready.rows("SELECT status FROM pipeline_runs")] == [
        "pending",
        "pending",
    ]


async def test_a_closing_of_one_pull_request_leaves_others_alone(ready: World) -> None:
    await arrive(ready, "opened", NOON)
    await ready.deliver(
        pull_request(ready.octo_web, action="closed", number=2, updated_at=LATER), "pull_request"
    )
    assert (await ready.only_run())["status"] == "pending"
