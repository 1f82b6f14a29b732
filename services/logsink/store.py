"""The log sink's tables: streams with their leases, and segments.

A stream is written only under its epoch: whoever takes it over raises the epoch, and what an earlier owner still tries to store is refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
import orjson

from services.logsink.segments import Gap, Position, Segment
from services.logsink.sources import Cursor
from shared.db import Store, Work


@dataclass(frozen=True, slots=True)
class Stream:
    """The log of one container of one attempt, as its owner took it."""

    id: int
    epoch: int
    attempt_id: int
    container: str
    run_id: int
    location: str
    cluster: str
    containers: int
    """How many the attempt has."""
    repository_id: int
    clone_token: bytes | None
    """Encrypted, as is the next."""
    webhook_secret: bytes | None
    cursor: Cursor | None
    position: Position

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> "Stream":
        gaps = tuple(Gap(gap["line"], gap["reason"]) for gap in row["gaps"])
        position = Position(row["next_seq"], row["next_line"], row["stored_bytes"], gaps)
        return cls(position=position, **{name: row[name] for name in cls.__slots__ if name != "position"})


@dataclass(frozen=True, slots=True)
class Append:
    """What is to be stored of a stream in one transaction."""

    stream: Stream
    position: Position
    """After these segments."""
    segments: tuple[Segment, ...] = ()
    cursor: Cursor | None = None
    """Where the source is to be read on; None: unchanged."""
    sha256: bytes | None = None
    """Of the whole stream: with it the stream is sealed."""

    def followed_by(self, later: "Append") -> "Append":
        return replace(later, segments=self.segments + later.segments, cursor=later.cursor or self.cursor)

    @property
    def waiting_bytes(self) -> int:
        return sum(len(segment.data) for segment in self.segments)


class LogWork(Work):
    """One transaction over streams and segments."""

    async def open_streams(self, attempt_ids: Sequence[int], owner: str, lease_seconds: float) -> list[Stream]:
        """The streams of these attempts that were not there yet; they are the owner's."""
        return [Stream.from_row(row) for row in await self._rows("open_streams", attempt_ids, owner, lease_seconds)]

    async def take_over(self, owner: str, lease_seconds: float, limit: int) -> list[Stream]:
        """Streams whose lease has run out; they are the owner's, under a higher epoch."""
        return [Stream.from_row(row) for row in await self._rows("take_over_streams", owner, lease_seconds, limit)]

    async def renew(self, leases: Sequence[tuple[int, int]], lease_seconds: float) -> set[int]:
        """(stream, epoch) of each; the streams that are still held."""
        rows = await self._rows("renew_leases", [lease[0] for lease in leases], [lease[1] for lease in leases], lease_seconds)
        return {row["id"] for row in rows}

    async def hand_back(self, leases: Sequence[tuple[int, int]]) -> None:
        await self._run("hand_back_leases", [lease[0] for lease in leases], [lease[1] for lease in leases])

    async def append(self, appends: Sequence[Append]) -> set[int]:
        """Store at most one Append a stream; the streams of which it is stored. The others belong to somebody else. Safe to repeat."""
        segments = [(append.stream.id, segment) for append in appends for segment in append.segments]
        streams = [
            [append.stream.id for append in appends],
            [append.stream.epoch for append in appends],
            [orjson.dumps(append.cursor).decode() if append.cursor else None for append in appends],
            [append.position.next_seq for append in appends],
            [append.position.next_line for append in appends],
            [append.position.stored_bytes for append in appends],
            [orjson.dumps([gap.as_json() for gap in append.position.gaps]).decode() for append in appends],
            [append.sha256 for append in appends],
        ]
        columns: list[list[Any]] = [[getattr(segment, name) for _, segment in segments] for name in Segment.__slots__]
        rows = await self._rows("append", *streams, [stream_id for stream_id, _ in segments], *columns)
        return {row["id"] for row in rows}

    async def lock_attempts(self, attempt_ids: Sequence[int]) -> None:
        await self._rows("lock_attempts", attempt_ids)

    async def sealed_attempts(self, attempt_ids: Sequence[int]) -> list[int]:
        """Those of these attempts whose logs are all sealed."""
        return [row["id"] for row in await self._rows("sealed_attempts", attempt_ids)]

    async def stored_segments(self, stream_id: int, first_seq: int, limit: int) -> list[tuple[bytes, int]]:
        """(data, raw_bytes) of some segments of a stream, in order."""
        return [(row["data"], row["raw_bytes"]) for row in await self._rows("stored_segments", stream_id, first_seq, limit)]

    async def attempt_over_for(self, stream_id: int, seconds: float) -> bool:
        return bool(await self._value("attempt_over_for", stream_id, seconds))

    async def unopened_attempts(self, age_seconds: float, limit: int) -> list[int]:
        """Claimed attempts that lack a stream."""
        return [row["id"] for row in await self._rows("unopened_attempts", age_seconds, limit)]

    async def expired_streams(self, limit: int) -> list[int]:
        return [row["id"] for row in await self._rows("expired_streams", limit)]

    async def delete_segments(self, stream_id: int, limit: int) -> int:
        """How many were deleted."""
        return await self._run("delete_segments", stream_id, limit)

    async def delete_stream(self, stream_id: int) -> None:
        """The caller has deleted its segments."""
        await self._run("delete_stream", stream_id)


LogStore = Store[LogWork]
