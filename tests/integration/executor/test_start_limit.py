"""An attempt that cannot be started ends after a limit, with a reason, and frees its slot."""

import pytest

from shared.errors import Transient
from tests.integration.executor.world import World

FULL = {"local_free_bytes": 1 << 60}
"""More free space than any disk has, so nothing is started."""


async def test_an_attempt_that_cannot_be_started_ends_after_its_limit(world: World) -> None:
    world.settings = world.settings.model_copy(update={**FULL, "start_seconds": 0.001})
    wanted = await world.job()
    async with world.executor() as executor:
        with pytest.raises(Transient):
            await executor.attempts.start([wanted])
        assert (
            await executor.checks.starts_past_limit() == 0
        )  # the first check that finds it late gives it another chance
        assert await executor.checks.starts_past_limit() == 1
    attempt = await world.attempt(wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("error", "start_timed_out")
    assert await world.sent() == ["attempt.finished"]


async def test_an_attempt_that_starts_between_two_looks_goes_on(world: World) -> None:
    full = world.settings.model_copy(update={**FULL, "start_seconds": 0.001})
    wanted = await world.job("echo hi")
    world.settings, roomy = full, world.settings.model_copy(update={"start_seconds": 0.001})
    async with world.executor() as executor:
        with pytest.raises(Transient):
            await executor.attempts.start([wanted])
    world.settings = roomy
    async with world.executor() as executor:
        assert await executor.checks.starts_past_limit() == 0
        await executor.attempts.start([wanted])
        assert await executor.checks.starts_past_limit() == 0
        assert (await world.finished(executor, wanted))["outcome"] == "success"


@pytest.mark.parametrize(("reason", "outcome"), [("cancelled_by_user", "cancelled"), ("timed_out", "failed")])
async def test_an_attempt_stopped_before_it_began_ends_as_its_reason_says(
    world: World, reason: str, outcome: str
) -> None:
    wanted = await world.job()
    await world.request_stop(wanted, reason)
    async with world.executor() as executor:
        await executor.attempts.start([wanted])
    attempt = await world.attempt(wanted)
    assert (attempt["outcome"], attempt["reason"]) == (outcome, reason)
