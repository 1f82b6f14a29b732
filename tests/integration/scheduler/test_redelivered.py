"""A delivery for an unregistered repository is decided again if the forge redelivers it."""

import asyncio

import pytest

from tests.harness.github import push
from tests.integration.scheduler.world import World


async def redeliver(world: World, delivery_id: int) -> None:
    """Mark a delivery that was decided ten seconds ago as redelivered five seconds ago.

    These are the rows that the gateway writes. No message is sent.
    """
    earlier = "UPDATE delivery_outcomes SET decided_at = now() - interval '10 seconds' WHERE delivery_id = $1"
    await world.sql.execute(earlier, delivery_id)
    marked = "UPDATE deliveries SET redelivered_at = now() - interval '5 seconds' WHERE id = $1"
    await world.sql.execute(marked, delivery_id)


async def unregistered(world: World) -> int:
    delivery_id = await world.deliver(push(world.octo_web))
    assert await world.outcome(delivery_id) == "unknown_repository"
    return delivery_id


async def test_a11_a_push_before_the_registration_runs_once_it_is_redelivered(world: World) -> None:
    delivery_id = await unregistered(world)
    repository_id, pipeline_id = await world.repository(), await world.pipeline()
    await redeliver(world, delivery_id)
    await world.decide(delivery_id)
    run = await world.only_run()
    assert (run["pipeline_config_id"], run["repository_id"], run["number"]) == (pipeline_id, repository_id, 1)
    (row,) = await world.rows(
        "SELECT o.*, e.id AS event FROM delivery_outcomes o JOIN events e USING (delivery_id)"
    )
    assert (row["outcome"], row["event_id"], row["repository_id"]) == ("event", row["event"], repository_id)


async def test_a11_a_repository_that_was_registered_under_another_id_runs_once_that_is_corrected(
    world: World,
) -> None:
    repository_id = await world.repository(forge_id=world.octo_web.forge_id + 1)
    await world.pipeline()
    delivery_id = await world.deliver(push(world.octo_web))
    assert await world.outcome(delivery_id) == "repository_mismatch"
    await world.sql.execute(
        "UPDATE repositories SET forge_id = $2 WHERE id = $1", repository_id, world.octo_web.forge_id
    )
    await redeliver(world, delivery_id)
    await world.decide(delivery_id)
    assert await world.outcome(delivery_id) == "event"
    assert await world.only_run()


async def test_a11_two_redeliveries_at_once_give_one_run_each_pipeline(world: World) -> None:
    ids = [await unregistered(world) for _ in range(5)]
    await world.repository()
    pipelines = [await world.pipeline(), await world.pipeline()]
    for delivery_id in ids:
        await redeliver(world, delivery_id)
    await asyncio.gather(*(world.another_scheduler().consumers.decide(ids) for _ in range(4)))
    await world.decide(*ids)
    assert await world.value("SELECT count(*) FROM events") == 5
    runs = await world.rows("SELECT pipeline_config_id, count(*) FROM pipeline_runs GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in runs] == [(pipeline_id, 5) for pipeline_id in pipelines]
    assert await world.value("SELECT count(*) FROM delivery_outcomes WHERE outcome = 'event'") == 5


async def test_a11_a_redelivery_of_which_nobody_was_told_is_decided(world: World) -> None:
    delivery_id = await unregistered(world)
    await world.repository()
    await world.pipeline()
    assert await world.scheduler.checks.redelivered_deliveries() == 0
    await redeliver(world, delivery_id)
    assert await world.scheduler.checks.redelivered_deliveries() == 1
    assert await world.only_run()
    assert await world.scheduler.checks.redelivered_deliveries() == 0


async def test_a11_a_redelivery_of_a_repository_that_is_still_unknown_is_decided_once(world: World) -> None:
    delivery_id = await unregistered(world)
    await redeliver(world, delivery_id)
    assert await world.scheduler.checks.redelivered_deliveries() == 1
    assert await world.outcome(delivery_id) == "unknown_repository"
    assert await world.scheduler.checks.redelivered_deliveries() == 0


async def test_a11_a_message_that_comes_twice_is_no_redelivery(world: World) -> None:
    delivery_id = await unregistered(world)
    await world.repository()
    await world.pipeline()
    await world.decide(delivery_id)
    assert await world.outcome(delivery_id) == "unknown_repository"


@pytest.mark.parametrize("outcome", ["event", "ignored", "other_hook", "failed"])
async def test_a11_every_other_outcome_stays(world: World, outcome: str) -> None:
    await world.repository()
    await world.pipeline()
    delivery_id = await world.delivery(push(world.octo_web))
    await world.sql.execute(
        "INSERT INTO delivery_outcomes (delivery_id, outcome, reason) VALUES ($1, $2, '')",
        delivery_id,
        outcome,
    )
    await redeliver(world, delivery_id)
    assert await world.scheduler.checks.redelivered_deliveries() == 0
    await world.consumers.decide([delivery_id])
    assert await world.outcome(delivery_id) == outcome
    assert await world.rows("SELECT id FROM pipeline_runs") == []
