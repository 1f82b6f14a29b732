"""Faults of Postgres."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import asyncpg

from tests.chaos.world import World
from tests.harness.waiting import until

MOST_CONNECTIONS = 210
MOST_LOG_FILES = 200
"""More write-ahead log files than Postgres keeps to recycle."""

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
    """Install triggers that can make writes fail with Postgres' own error codes. Call it once for a world."""
    async with world.database() as connection:
        await connection.execute(_SWITCH)
        for table in _SWITCHED:
            when = f"BEFORE INSERT OR UPDATE ON {table}"
            await connection.execute(
                f"CREATE TRIGGER broken {when} FOR EACH STATEMENT EXECUTE FUNCTION break_statement()"
            )


@asynccontextmanager
async def disk_full(world: World) -> AsyncIterator[None]:
    """Make every write fail with the error code `disk_full`."""
    async with _failing(world, "disk_full", 1.0):
        yield


@asynccontextmanager
async def deadlocks(world: World) -> AsyncIterator[None]:
    """Make about every third write fail with the error code `deadlock_detected`."""
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
    """Fill the disk, so that no file of Postgres can grow."""
    assert world.disk is not None
    await asyncio.to_thread(world.disk.fill)
    try:
        yield
    finally:
        world.disk.empty()
    await world.serves()


@asynccontextmanager
async def log_full(world: World) -> AsyncIterator[None]:
    """Fill the disk, and then the write-ahead log too.

    Postgres panics, and cannot start again until the disk has room.
    """
    async with file_system_full(world):
        await until(lambda: _log_stops_postgres(world), within=20, what="Postgres stops for lack of room")
        yield


async def _log_stops_postgres(world: World) -> bool:
    """Write to the log as far as the room goes. Return True if Postgres then takes no connections."""
    with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
        async with world.database() as connection:
            for _ in range(MOST_LOG_FILES):
                await connection.execute("SELECT pg_logical_emit_message(true, 'chaos', 'x')")
                await connection.execute("SELECT pg_switch_wal()")
    try:
        async with world.database():
            return False
    except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
        return True


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
    """Terminate all other backends of the database, in the middle of their work."""
    async with world.database() as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND "
            "pid <> pg_backend_pid()"
        )
    yield


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    """Lock the tables that every run needs."""
    async with world.database() as connection, connection.transaction():
        with contextlib.suppress(asyncpg.PostgresError, TimeoutError):
            await connection.execute("SET LOCAL lock_timeout = '2s'")
            await connection.execute("LOCK TABLE outbox, jobs, attempts, deliveries IN ACCESS EXCLUSIVE MODE")
        yield


@asynccontextmanager
async def out_of_connections(world: World) -> AsyncIterator[None]:
    """Close the services' connections and take every connection that Postgres allows."""
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
