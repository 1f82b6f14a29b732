"""Several schedulers do the same thing at once."""

import asyncio

from tests.harness.github import FakeRepository, pull_request, push
from tests.integration.scheduler.world import CHAIN, World


async def test_schedulers_that_hear_of_the_same_delivery_at_once_make_one_run(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.pipeline()
    for _ in range(5):
        delivery_id = await world.delivery(push(world.octo_web))
        await asyncio.gather(*(world.another_scheduler().consumers.decide([delivery_id]) for _ in range(4)))
    assert await world.value("SELECT count(*) FROM events") == 5
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 10
    assert await world.value("SELECT count(*) FROM jobs") == 10
    numbers = await world.rows(
        "SELECT pipeline_config_id, array_agg(number ORDER BY number) AS taken FROM pipeline_runs GROUP BY 1"
    )
    assert [row["taken"] for row in numbers] == [[1, 2, 3, 4, 5]] * 2


async def test_overlapping_batches_decide_each_delivery_once(world: World) -> None:
    await world.repository()
    await world.pipeline()
    ids = [await world.delivery(push(world.octo_web)) for _ in range(30)]
    await asyncio.gather(
        *(world.another_scheduler().consumers.decide(ids[start:]) for start in (0, 5, 10, 20))
    )
    assert await world.value("SELECT count(*) FROM delivery_outcomes WHERE outcome = 'event'") == 30
    assert await world.value("SELECT array_agg(number ORDER BY number) FROM pipeline_runs") == list(
        range(1, 31)
    )


async def test_schedulers_that_learn_different_ids_for_one_name_agree_on_one(world: World) -> None:
    await world.repository()
    rivals = [FakeRepository("octo/web") for _ in range(4)]
    ids = [await world.delivery(push(rival)) for rival in rivals]
    await asyncio.gather(*(world.another_scheduler().consumers.decide([delivery_id]) for delivery_id in ids))
    outcomes = [await world.outcome(delivery_id) for delivery_id in ids]
    assert sorted(outcomes) == ["event", "repository_mismatch", "repository_mismatch", "repository_mismatch"]


async def test_a_closing_decided_beside_its_opening_leaves_no_pending_run(world: World) -> None:
    await world.repository()
    await world.pipeline()
    for number in range(1, 9):
        opening = await world.delivery(
            pull_request(world.octo_web, number=number, updated_at="2026-11-20T12:00:00Z"), "pull_request"
        )
        closing = await world.delivery(
            pull_request(world.octo_web, number=number, action="closed", updated_at="2026-11-20T12:00:09Z"),
            "pull_request",
        )
        await asyncio.gather(
            *(world.another_scheduler().consumers.decide([delivery_id]) for delivery_id in (opening, closing))
        )
    assert await world.value("SELECT count(*) FROM pipeline_runs WHERE status = 'pending'") == 0


async def test_schedulers_that_fold_the_same_attempt_at_once_move_its_job_once(world: World) -> None:
    await world.repository()
    await world.pipeline(CHAIN)
    await world.deliver(push(world.octo_web))
    await world.admission.admit()
    attempt_id = await world.claim((await world.jobs())["first"]["id"])
    await world.finish(attempt_id)
    run_id = (await world.only_run())["id"]
    await asyncio.gather(*(world.another_scheduler().consumers.fold([run_id]) for _ in range(5)))
    assert await world.statuses() == {"first": "success", "second": "pending", "third": "pending"}
    assert await world.value("SELECT count(*) FROM transitions WHERE job_id IS NOT NULL") == 1


async def test_schedulers_that_apply_the_same_commands_at_once_apply_them_once(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.deliver(push(world.octo_web))
    run_id = (await world.only_run())["id"]
    await world.apply(await world.command("cancel", run_id))
    retries = [await world.command("retry", run_id) for _ in range(3)]
    await asyncio.gather(*(world.another_scheduler().consumers.apply(retries) for _ in range(4)))
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 2
    assert sorted(
        row["reason"]
        for row in await world.rows("SELECT reason FROM command_effects WHERE command_id = ANY($1)", retries)
    ) == [
        "run_created",
        "run_exists",
        "run_exists",
    ]


async def test_cancel_racing_with_an_end_leaves_one_terminal_status(world: World) -> None:
    await world.repository()
    await world.pipeline()
    for _ in range(5):
        await world.deliver(push(world.octo_web))
    await world.admission.admit()
    for job in await world.rows("SELECT id, run_id FROM jobs"):
        attempt_id = await world.claim(job["id"])
        command_id = await world.command("cancel", job["run_id"])
        one, another = world.another_scheduler().consumers, world.another_scheduler().consumers
        await asyncio.gather(world.finish(attempt_id), one.apply([command_id]), another.fold([job["run_id"]]))
        await world.tell_finished(attempt_id)
    assert [
        tuple(row) for row in await world.rows("SELECT DISTINCT status, slot_freed_at IS NULL FROM jobs")
    ] == [("success", False)]
    ends = await world.rows(
        "SELECT run_id, count(*) FROM transitions WHERE job_id IS NULL AND to_status NOT IN ('pending', "
        "'running') GROUP BY 1"
    )
    assert [row["count"] for row in ends] == [1] * 5
