"""Reads Towpath's tables for the benchmarks over a separate connection, so no service measures its own time.

It writes one row: an attempt whose log is on disk.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from bench.sending import BenchError
from shared.database.store import Queries

POLL_SECONDS = 0.001


@dataclass(frozen=True)
class Wanted:
    """A condition to wait for: a query, a test of its row, a time limit and a poll interval."""

    title: str
    query: str
    is_so: Callable[[asyncpg.Record], object]
    seconds: float
    poll_seconds: float = POLL_SECONDS


class Watch:
    """A connection on which tables are polled until a condition is true."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self._connection = connection
        self._queries = Queries.beside(__file__)

    async def row(self, name: str, *arguments: object) -> asyncpg.Record | None:
        """Return the first row of a query of `queries.sql`."""
        return await self._connection.fetchrow(self._queries[name], *arguments)

    async def one(self, name: str, *arguments: object) -> asyncpg.Record:
        row = await self.row(name, *arguments)
        if row is None:
            raise BenchError(f"{name}: no row")
        return row

    async def until(self, what: Wanted, *arguments: object) -> asyncpg.Record:
        """Poll until a row fulfils the condition. Raises BenchError with the last row if the time is over."""
        deadline = time.monotonic() + what.seconds
        while True:
            row = await self.row(what.query, *arguments)
            if row is not None and what.is_so(row):
                return row
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{what.title} took over {what.seconds:g} s; last seen: {dict(row) if row else None}"
                )
            await asyncio.sleep(what.poll_seconds)

    async def outcomes(self) -> dict[str, int]:
        rows = await self._connection.fetch(self._queries["outcomes"])
        return {row["outcome"]: row["deliveries"] for row in rows}

    async def finished_attempt(self, job_id: int, number: int, pod: Path) -> int:
        return int((await self.one("insert_finished_attempt", job_id, number, str(pod)))["id"])


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watch]:
    connection = await asyncpg.connect(url, timeout=10, command_timeout=60)
    try:
        yield Watch(connection)
    finally:
        await connection.close(timeout=5)
