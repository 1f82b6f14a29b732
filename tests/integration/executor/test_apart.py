"""Attempts do not block one another.

A row that cannot be read affects only its own attempt. A second attempt waits for the pod of the first.
"""

import asyncio
from collections.abc import Collection
from dataclasses import replace

import pytest

from services.executor.backend import Observation
from shared.messaging.messages import AttemptReady
from tests.integration.executor.world import Local, World

UNREADABLE = '{"name": "job", "steps": "none"}'


async def test_a_definition_that_can_not_be_read_ends_neither_the_watching_nor_another_attempts_verdict(
    world: World, executor: Local
) -> None:
    watching = asyncio.create_task(executor.watching.run())
    try:
        bad, good = await world.job("sleep 0.2"), await world.job("sleep 0.4; exit 3")
        await executor.consumers.on_messages([AttemptReady(cluster="local", jobs=(bad, good))])
        await world.sql.execute(
            "UPDATE jobs SET definition = $2::text::jsonb WHERE id = $1", bad[0], UNREADABLE
        )
        assert (await world.judged_by_itself(good))["exit_code"] == 3
        assert not watching.done()
    finally:
        watching.cancel()
    assert (await world.attempt(bad))["status"] == "claimed"


@pytest.mark.parametrize("check", ["claimed_attempts", "attempts_without_claim", "admitted_without_attempt"])
async def test_a_definition_that_can_not_be_read_does_not_block_a_look(
    world: World, executor: Local, check: str
) -> None:
    bad, good = await world.job(), await world.job("exit 3")
    if check == "claimed_attempts":
        await executor.consumers.on_messages([AttemptReady(cluster="local", jobs=(bad, good))])
        await world.ended(executor, bad)
        await world.ended(executor, good)
    elif check == "attempts_without_claim":
        await world.inserted(bad)
        await world.inserted(good)
    await world.sql.execute("UPDATE jobs SET definition = $2::text::jsonb WHERE id = $1", bad[0], UNREADABLE)
    await getattr(executor.checks, check)()
    assert (await world.finished(executor, good))["exit_code"] == 3


async def test_f62_a_second_attempt_waits_while_the_pod_of_the_first_may_run(
    world: World, executor: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.job("exit 3")
    second = (first[0], 2)
    await executor.consumers.on_messages([AttemptReady(cluster="local", jobs=(first,))])
    attempt = await world.finished(executor, first)
    await world.sql.execute("UPDATE jobs SET wanted_attempt = 2")
    observe = executor.cluster.observe

    async def unreachable(names: Collection[str]) -> dict[str, Observation]:
        seen = await observe(names)
        return {
            name: replace(check, pods=tuple(replace(pod, lingers=True) for pod in check.pods))
            for name, check in seen.items()
        }

    with monkeypatch.context() as lost:
        lost.setattr(executor.cluster, "observe", unreachable)
        await executor.attempts.start([second])
        waiting = await world.attempt(second)
        assert (waiting["status"], waiting["waiting_for"]) == ("creating", "node")
        assert world.pods() == [world.name(attempt["id"])]
        world.settings = world.settings.model_copy(update={"start_seconds": 0.001})
        await executor.checks.starts_past_limit()
        assert await executor.checks.starts_past_limit() == 0
        await world.sql.execute("UPDATE attempts SET claimed_at = now() - interval '1 day' WHERE number = 1")
        await executor.attempts.start([second])  # after its deadline the first pod cannot be running
    assert (await world.finished(executor, second))["exit_code"] == 3
    assert (await world.attempt(second))["waiting_for"] is None
