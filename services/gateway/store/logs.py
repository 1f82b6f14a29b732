"""Reads log streams and their segments, which the log sink stores."""

from collections.abc import Sequence

import asyncpg

from shared.database.store import Work


class LogsWork(Work):
    async def log_streams(self, run_id: int) -> list[asyncpg.Record]:
        return await self._rows("run_streams", run_id)

    async def log_state(self, run_id: int) -> asyncpg.Record | None:
        """Return `status`, `reason` and `is_sealed` of the run's logs."""
        return await self._row("run_log_state", run_id)

    async def log_gaps(self, run_id: int, limit: int) -> list[asyncpg.Record]:
        """Return `job`, `attempt`, `container`, `line` and `reason` of each gap marker in the run's logs."""
        return await self._rows("run_log_gaps", run_id, limit)

    async def segments(self, stream_id: int, line: int, limit: int) -> list[asyncpg.Record]:
        """Return segments of a stream, beginning with the one that contains the line.

        The first segment may begin before the line. It may also end before it, which the caller has to check.
        """
        return await self._rows("segments_from", stream_id, line, limit)

    async def viewers_allowed(self, viewers: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Return those of the (token id, run id) pairs that may still be shown."""
        tokens, runs = [viewer[0] for viewer in viewers], [viewer[1] for viewer in viewers]
        return {(row["token_id"], row["run_id"]) for row in await self._rows("viewers_allowed", tokens, runs)}
