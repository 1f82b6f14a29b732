"""The database: a process that stands still in the middle of a transaction does not hold up the others."""

import pytest
from pydantic import SecretStr

from shared.db import open_database
from shared.errors import Transient
from shared.settings import DatabaseSettings
from tests.harness.waiting import until


async def test_the_locks_of_a_transaction_that_stands_still_are_given_up(database_url: str) -> None:
    settings = DatabaseSettings(database_url=SecretStr(database_url), database_idle_transaction_seconds=0.2)
    async with open_database(settings) as stopped, open_database(settings) as other:

        async def is_free() -> bool:
            async with other.connection() as connection:
                return bool(await connection.fetchval("SELECT pg_try_advisory_lock(7)"))

        async def stand_still() -> None:
            async with stopped.transaction() as connection:
                await connection.fetchval("SELECT pg_advisory_xact_lock(7)")
                assert not await is_free()
                await until(is_free, within=10, what="the lock")

        with pytest.raises(Transient):
            await stand_still()
        async with stopped.transaction() as connection:
            assert await connection.fetchval("SELECT 1") == 1
