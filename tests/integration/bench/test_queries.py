"""Every SQL statement of the benchmarks can be prepared on the migrated database."""

from pathlib import Path

import asyncpg
import pytest

import bench
from shared.database.store import Queries

QUERIES = Queries.beside(str(Path(bench.__path__[0]) / "__init__.py"))


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_a_query_can_be_prepared(session_database_url: str, name: str) -> None:
    connection = await asyncpg.connect(session_database_url)
    try:
        assert await connection.prepare(QUERIES[name])
    finally:
        await connection.close()
