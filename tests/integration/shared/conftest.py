"""Fixtures: a bus and a database of the test's own."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from shared.database.store import Database, open_database
from shared.messaging.bus import Bus, open_bus
from shared.settings import BusSettings
from tests.harness.databases import database_settings


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with open_database(database_settings(database_url)) as opened:
        yield opened


@pytest.fixture
async def bus(amqp_url: str) -> AsyncIterator[Bus]:
    async with open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "test") as opened:
        yield opened
