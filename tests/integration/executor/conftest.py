"""A world and an executor for each test, on a database of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.executor.world import Executor, World, open_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with open_world(database_url) as ours:
        yield ours


@pytest.fixture
async def executor(world: World) -> AsyncIterator[Executor]:
    async with world.executor() as ours:
        yield ours
