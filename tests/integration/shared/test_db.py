"""Transactions: one whose process stalls does not block others, and lost connections are transient errors."""

from typing import Any

import pytest
from pydantic import SecretStr

from shared.database.store import Database, open_database
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


@pytest.mark.parametrize(
    "fault",
    [OSError(28, "No space left on device"), TimeoutError("a registry"), ConnectionResetError("a forge")],
)
async def test_what_the_callers_own_files_and_sockets_do_in_a_transaction_is_not_the_databases_fault(
    database: Database, fault: OSError
) -> None:
    async with database.connection() as connection:
        await connection.execute("CREATE TABLE notes (text text)")

    async def write_and_fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("INSERT INTO notes VALUES ('x')")
            raise fault

    with pytest.raises(type(fault)) as raised:
        await write_and_fail()
    assert raised.value is fault
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM notes") == 0


@pytest.mark.parametrize("statement", ["execute", "fetch", "fetchrow", "fetchval"])
async def test_a_connection_lost_before_a_statement_is_transient(database: Database, statement: str) -> None:
    async def lose_and_ask() -> None:
        async with database.transaction() as connection:
            await terminate(database, connection)
            await getattr(connection, statement)("SELECT 1")

    with pytest.raises(Transient):
        await lose_and_ask()


async def test_a_connection_lost_before_the_commit_is_transient(database: Database) -> None:
    with pytest.raises(Transient):
        async with database.transaction() as connection:
            await terminate(database, connection)


async def terminate(database: Database, connection: Any) -> None:
    """Make the server end this connection."""
    async with database.connection() as other:
        await other.execute(
            "SELECT pg_terminate_backend($1, 5000)", await connection.fetchval("SELECT pg_backend_pid()")
        )


async def test_a_database_that_cannot_be_reached_is_transient() -> None:
    settings = DatabaseSettings(database_url=SecretStr("postgresql://nobody@127.0.0.1:1/none"))
    async with open_database(settings) as away:
        with pytest.raises(Transient):
            async with away.connection():
                pass
        assert not await away.answers()
