"""X5: a user's many pipelines with many long globs, and a push to a branch with a long name."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from services.gateway.unmatched import HINT_LIMIT, warnings_of
from services.scheduler.consumers import Consumers
from services.scheduler.pace import Pace
from services.scheduler.revisions import Revisions
from services.scheduler.store import open_store
from tests.attack.payloads import LONG_BRANCH, costly_trigger
from tests.harness.github import push
from tests.integration.scheduler.conftest import world
from tests.integration.scheduler.world import ONE_JOB, World

__all__ = ["world"]


def costly(pipeline: int, patterns: int = 100) -> str:
    return ONE_JOB.replace("push: {}", costly_trigger(pipeline, patterns))


async def outcomes(world: World) -> dict[int, tuple[str, str]]:
    """Return the outcome and the first reason's code of each pipeline's decision."""
    rows = await world.rows(
        "SELECT pipeline_config_id, outcome, reasons::jsonb -> 0 ->> 'code' AS code FROM decisions"
    )
    return {row["pipeline_config_id"]: (row["outcome"], row["code"]) for row in rows}


async def test_x05_an_event_costs_each_owner_a_bounded_number_of_comparisons(world: World) -> None:
    await world.repository()
    costing = [await world.pipeline(costly(number)) for number in range(4)]
    other = await world.user("other", is_admin=True)
    theirs = await world.pipeline(ONE_JOB, owner=other)
    await world.deliver(push(world.octo_web, ref=f"refs/heads/{LONG_BRANCH}"))
    found = await outcomes(world)
    assert [found[pipeline] for pipeline in costing[:1]] == [("not_matched", "branch")]
    assert [found[pipeline] for pipeline in costing[2:]] == [("skipped", "too_many_patterns")] * 2
    assert found[theirs] == ("run", "matched")


async def test_x05_the_budget_is_a_setting_and_told(world: World) -> None:
    await world.repository()
    first, second = [
        await world.pipeline(ONE_JOB.replace("push: {}", "push: { branches: [main] }")) for _ in range(2)
    ]
    world.scheduler.consumers = Consumers(
        open_store(world.database), Revisions(pattern_steps=32), world.admission
    )
    await world.deliver(push(world.octo_web))
    assert await outcomes(world) == {first: ("run", "matched"), second: ("skipped", "too_many_patterns")}
    text = await world.value("SELECT reasons::jsonb -> 0 ->> 'text' FROM decisions WHERE outcome = 'skipped'")
    assert "32 steps" in text
    assert "TOWPATH_PATTERN_STEPS" in text


async def test_x05_each_event_has_its_own_budget(world: World) -> None:
    await world.repository()
    await world.pipeline(ONE_JOB.replace("push: {}", "push: { branches: [main] }"))
    world.scheduler.consumers = Consumers(
        open_store(world.database), Revisions(pattern_steps=32), world.admission
    )
    await world.decide(*[await world.delivery(push(world.octo_web)) for _ in range(3)])
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 3


async def ticks(gaps: list[float]) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    before = loop.time()
    while True:
        await asyncio.sleep(0)
        gaps.append(loop.time() - before)
        before = loop.time()
        yield


@pytest.mark.alone("turns of the event loop are timed")
async def test_x05_other_tasks_run_while_an_event_is_decided(world: World) -> None:
    await world.repository()
    for number in range(60):
        await world.pipeline(costly(number, patterns=8))
    world.scheduler.consumers = Consumers(
        open_store(world.database), Revisions(pattern_steps=10**9), world.admission
    )
    delivery_id = await world.delivery(push(world.octo_web, ref=f"refs/heads/{LONG_BRANCH}"))
    gaps: list[float] = []

    async def tick() -> None:
        async for _ in ticks(gaps):
            continue

    ticking = asyncio.create_task(tick())
    loop = asyncio.get_running_loop()
    began = loop.time()
    await world.decide(delivery_id)
    taken = loop.time() - began
    ticking.cancel()
    assert len(await outcomes(world)) == 60
    assert max(gaps) < taken / 3, (max(gaps), taken)


async def test_x05_a_slice_ends_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    pace = Pace()
    for _ in range(5):
        await pace.keep()
    within = turns
    monkeypatch.setattr("services.scheduler.pace.SLICE_SECONDS", 0)
    for _ in range(5):
        await pace.keep()
    counting.cancel()
    assert within <= 5 <= turns


@pytest.mark.alone("a check is timed")
@pytest.mark.parametrize(
    "named",
    [
        [f"octo/{'*a' * 40}{number}" for number in range(50)],
        [f"octo/{'a' * 60}{number}" for number in range(50)],
    ],
    ids=["globs", "names"],
)
def test_x05_warnings_about_unknown_repositories_take_a_bounded_time(named: list[str]) -> None:
    usable = [f"octo/{'a' * 60}{number:05}x" for number in range(4000)]
    began = time.process_time()
    warnings = warnings_of(named, usable)
    assert time.process_time() - began < 0.5
    assert sum(warning.hint is not None for warning in warnings) <= HINT_LIMIT
