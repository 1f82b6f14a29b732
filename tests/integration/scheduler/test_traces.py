"""The work of several deliveries in one transaction: each row and line has its own trace, or none."""

import pytest
from structlog.testing import capture_logs

from shared.errors import Rejected
from shared.tracing import current, traced
from tests.harness.github import push
from tests.integration.scheduler.world import World

FIRST, SECOND = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")


@pytest.fixture
async def two(world: World) -> list[int]:
    """Store two deliveries with different traces."""
    await world.repository()
    await world.pipeline()
    ids = [await world.delivery(push(world.octo_web)) for _ in range(2)]
    for delivery_id, traceparent in zip(ids, (FIRST, SECOND), strict=True):
        await world.rows("UPDATE deliveries SET traceparent = $2 WHERE id = $1", delivery_id, traceparent)
    return ids


async def traces_of_runs(world: World) -> list[str]:
    return [
        row["traceparent"] for row in await world.rows("SELECT traceparent FROM pipeline_runs ORDER BY id")
    ]


async def test_runs_that_are_created_together_have_their_own_traces(world: World, two: list[int]) -> None:
    with traced(FIRST), capture_logs() as lines:
        await world.decide(*two)
        assert current() == FIRST
    assert await traces_of_runs(world) == [FIRST, SECOND]
    inserted = [line for line in lines if line["event"] == "run_inserted"]
    assert [line["trace_id"] for line in inserted] == ["a" * 32, "b" * 32]
    (created,) = await world.sent("run.created")
    assert (len(created.run_ids), created.traceparent) == (2, None)


async def test_a_single_run_gives_its_trace_to_its_messages(world: World, two: list[int]) -> None:
    for delivery_id, traceparent in zip(two, (FIRST, SECOND), strict=True):
        await world.forget_messages()
        await world.decide(delivery_id)
        await world.admission.admit()
        assert [message.traceparent for message in await world.sent("run.created")] == [traceparent]
        assert [message.traceparent for message in await world.sent("attempt.ready")] == [traceparent]


async def test_jobs_that_are_admitted_together_share_a_message_without_a_trace(
    world: World, two: list[int]
) -> None:
    await world.decide(*two)
    assert await world.admission.admit() == 2
    (ready,) = await world.sent("attempt.ready")
    assert (len(ready.jobs), ready.traceparent) == (2, None)


async def test_a_delivery_that_breaks_the_batch_is_logged_with_its_own_trace(
    world: World, two: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, str | None]] = []
    await world.rows("UPDATE deliveries SET headers = '7' WHERE id = $1", two[1])

    def note(_event: str, *, delivery_id: int) -> None:
        seen.append((delivery_id, current()))

    monkeypatch.setattr("services.scheduler.consumers._log.exception", note)
    with traced(FIRST), pytest.raises(Rejected):
        await world.decide(*two)
    assert seen == [(two[1], SECOND)]
    assert await traces_of_runs(world) == [FIRST]


async def test_a_retry_has_the_trace_of_its_command(world: World, two: list[int]) -> None:
    await world.decide(two[0])
    await world.admission.admit()
    run = await world.only_run()
    (job,) = (await world.jobs()).values()
    await world.run_job(job["id"], "failed", "script_failed")
    command_id = await world.command("retry", run["id"])
    await world.rows("UPDATE commands SET traceparent = $2 WHERE id = $1", command_id, SECOND)
    await world.forget_messages()
    await world.apply(command_id)
    assert await traces_of_runs(world) == [FIRST, SECOND]
    assert [message.traceparent for message in await world.sent("command.applied")] == [SECOND]
    assert [message.traceparent for message in await world.sent("run.created")] == [SECOND]
