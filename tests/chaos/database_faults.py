"""What may happen to Postgres."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from tests.chaos.world import World

MOST_CONNECTIONS = 210
MOST_LOG_FILES = 200
"""More than are kept for use again."""

_SWITCH = """\
CREATE TABLE broken_statements (code text NOT NULL, chance float NOT NULL);
CREATE FUNCTION break_statement() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE found text;
BEGIN
  SELECT code INTO found FROM broken_statements WHERE random() < chance;
  IF found IS NOT NULL THEN RAISE EXCEPTION 'broken on purpose' USING ERRCODE = found; END IF;
  RETURN NULL;
END $$;"""
_SWITCHED = (
    "deliveries",
    "events",
    "pipeline_runs",
    "jobs",
    "attempts",
    "log_streams",
    "outbox",
    "commands",
    "command_effects",
)


async def prepare(world: World) -> None:
    """From then on writes can be made to fail with Postgres' own error codes. Once for a world."""
    async with world.database() as connection:
        await connection.execute(_SWITCH)
        for table in _SWITCHED:
            when = f"BEFORE INSERT OR UPDATE ON {table}"
            await connection.execute(
                f"CREATE TRIGGER broken {when} FOR EACH STATEMENT EXECUTE FUNCTION break_statement()"
            )


@asynccontextmanager
async def disk_full(world: World) -> AsyncIterator[None]:
    """As Postgres says it: nothing can be written."""
    async with _failing(world, "disk_full", 1.0):
        yield


@asynccontextmanager
async def deadlocks(world: World) -> AsyncIterator[None]:
    """Every third write is chosen to give way."""
    async with _failing(world, "deadlock_detected", 0.33):
        yield


@asynccontextmanager
async def _failing(world: World, code: str, chance: float) -> AsyncIterator[None]:
    async with world.database() as connection:
        await connection.execute("INSERT INTO broken_statements VALUES ($1, $2)", code, chance)
    try:
        yield
    finally:
        async with world.database() as connection:
            await connection.execute("DELETE FROM broken_statements WHERE code = $1", code)


@asynccontextmanager
async def file_system_full(world: World) -> AsyncIterator[None]:
    """Truly: no file of Postgres can grow."""
    assert world.disk is not None
    await asyncio.to_thread(world.disk.fill)
    try:
        yield
    finally:
        world.disk.empty()
    await world.serves()


@asynccontextmanager
async def log_full(world: World) -> AsyncIterator[None]:
    """Truly, and no room is left in the write-ahead log either: Postgres panics, and can't start again while
    it lasts.
    """
    async with file_system_full(world):
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            async with world.database() as connection:
                for _ in range(MOST_LOG_FILES):
                    await connection.execute("SELECT pg_logical_emit_message(true, 'chaos', 'x')")
                    await connection.execute("SELECT pg_switch_wal()")
        yield


@asynccontextmanager
async def killed(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.postgres.kill)
    yield
    await world.up(world.postgres)


@asynccontextmanager
async def restarted(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.postgres.stop)
    yield
    await world.up(world.postgres)


@asynccontextmanager
async def paused(world: World) -> AsyncIterator[None]:
    world.postgres.pause()
    yield
    world.postgres.resume()


@asynccontextmanager
async def backends_terminated(world: World) -> AsyncIterator[None]:
    """All of them, in the middle of whatever they do."""
    async with world.database() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
            "pid <> pg_backend_pid()"
        )
    yield


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    """Nobody gets at the tables that everything goes through."""
    async with world.database() as connection, connection.transaction():
        with contextlib.suppress(asyncpg.PostgresError, TimeoutError):
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute("LOCK TABLE outbox, jobs, attempts, deliveries IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def out_of_connections(world: World) -> AsyncIterator[None]:
    """The services' own are closed, and somebody else takes every one there is."""
    async with AsyncExitStack() as taken:
        async with world.database() as first:
            await first.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid()"
            )
            for _ in range(MOST_CONNECTIONS):
                try:
                    await taken.enter_async_context(world.database())
                except (asyncpg.PostgresError, OSError, TimeoutError):
                    break
        yield
