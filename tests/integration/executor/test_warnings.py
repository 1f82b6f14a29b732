"""Warnings about how a job runs are stored with its attempt."""

import pytest

from services.executor.local.network_choice import SHARED_NETWORK, NetworkWish
from services.executor.local.sandbox import SandboxUnusable
from tests.integration.executor.world import World


@pytest.mark.parametrize(
    ("choice", "warnings"), [("auto", [SHARED_NETWORK]), ("shared", [])], ids=["not to be had", "not wanted"]
)
async def test_x12_an_attempt_without_a_network_of_its_own_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, choice: str, warnings: list[str]
) -> None:
    wish = NetworkWish("auto" if choice == "auto" else "shared", "towpath-no-such-program")
    monkeypatch.setattr(
        "services.executor.local.opening.NetworkWish", lambda asked: wish if asked == choice else None
    )
    world.settings = world.settings.model_copy(update={"local_network": choice})
    async with world.executor() as executor:
        wanted = await world.job()
        await executor.attempts.start([wanted])
    attempt = await world.attempt(wanted)
    assert (attempt["status"], attempt["warnings"]) == ("claimed", warnings)
    assert "\n" not in SHARED_NETWORK


async def test_x12_a_network_of_its_own_needs_no_warning(world: World) -> None:
    world.settings = world.settings.model_copy(update={"local_network": "own"})
    try:
        async with world.executor() as executor:
            wanted = await world.job()
            await executor.attempts.start([wanted])
    except SandboxUnusable as error:
        pytest.skip(str(error))
    assert (await world.attempt(wanted))["warnings"] == []
