"""Fixtures of the fault tests. The tests of a module share one world, and each leaves it in working order."""

import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.chaos import database_faults
from tests.chaos.pushing import Pushes
from tests.chaos.world import World, open_world


@pytest.fixture(scope="module")
async def world() -> AsyncIterator[World]:
    async with open_world(random.Random(1)) as opened:  # noqa: S311 - the same each time
        await database_faults.prepare(opened)
        yield opened


@pytest.fixture
async def pushes(world: World) -> AsyncIterator[Pushes]:
    """Yield the pushes of a repository and a pipeline of the test's own. The test calls `prepare`."""
    async with aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=60), connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        yield Pushes(world, session)
    await world.repair()
