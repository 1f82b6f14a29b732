"""Fixtures: a database with the rows that logs need."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from tests.fakes.pod_directory import FakePod
from tests.integration.logsink.running import Record


@pytest.fixture
async def record(database_url: str) -> AsyncIterator[Record]:
    connection = await asyncpg.connect(database_url)
    yield Record(connection)
    await connection.close()


@pytest.fixture
def pod(tmp_path: Path) -> FakePod:
    return FakePod(tmp_path / "pod")
