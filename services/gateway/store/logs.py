"""Log streams and their segments, as the log sink stored them."""

from collections.abc import Sequence

import asyncpg

from shared.db import Work


class LogsWork(Work):
    async def log_streams(self, run_id: int) -> list[asyncpg.Record]:
        return await self._rows("run_streams", run_id)

    async def log_state(self, run_id: int) -> asyncpg.Record | None:
        """status, reason, is_sealed."""
        return await self._row("run_log_state", run_id)

    async def segments(self, stream_id: int, line: int, limit: int) -> list[asyncpg.Record]:
        """The first of them may begin before the line; one that ends before it is left to the caller too."""
        return await self._rows("segments_from", stream_id, line, limit)

    async def viewers_allowed(self, viewers: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        """Those of these (token, run) that may still be shown."""
        tokens, runs = [viewer[0] for viewer in viewers], [viewer[1] for viewer in viewers]
        return {(row["token_id"], row["run_id"]) for row in await self._rows("viewers_allowed", tokens, runs)}
