"""Fixtures: a world for each test, on a database of its own."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.scheduler.world import World, open_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with open_world(database_url) as ours:
        yield ours
