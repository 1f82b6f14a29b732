"""Every named query can be prepared on the migrated database."""

import asyncpg
import pytest

from services.logsink import store
from shared.database.store import Queries

QUERIES = Queries.beside(str(store.__file__))


@pytest.mark.parametrize("name", QUERIES)
async def test_a_query_can_be_prepared(session_database_url: str, name: str) -> None:
    connection = await asyncpg.connect(session_database_url)
    try:
        assert await connection.prepare(QUERIES[name])
    finally:
        await connection.close()
