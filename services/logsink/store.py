"""The log sink's tables: streams with their leases, and segments.

A stream is written only under its epoch: whoever takes it over raises the epoch, and what an earlier owner
still tries to store is refused.
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
class Reach:
    """Which logs a process can read."""

    files: bool = False
    """Of this machine's local cluster."""
    clusters: tuple[str, ...] = ()
    """Through their API servers."""
    locations: tuple[str, ...] = ()
    """On this node."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write streams."""

    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Unattended:
    """A stream that is to be read on a node, and that nobody there reads."""

    id: int
    container: str
    location: str
    cluster: str
    is_over: bool
    """Whether its attempt has its verdict; `reason` is why."""
    reason: str | None
    is_long_over: bool


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

    async def open_streams(self, attempt_ids: Sequence[int], lease: Lease, reach: Reach) -> list[Stream]:
        """The streams of these attempts that were not there yet and are in reach; they are the owner's."""
        return [
            Stream.from_row(row)
            for row in await self._rows(
                "open_streams", attempt_ids, lease.owner, lease.seconds, *_arguments(reach)
            )
        ]

    async def take_over(self, lease: Lease, limit: int, reach: Reach) -> list[Stream]:
        """Streams in reach whose lease has run out; they are the owner's, under a higher epoch."""
        return [
            Stream.from_row(row)
            for row in await self._rows(
                "take_over_streams", lease.owner, lease.seconds, limit, *_arguments(reach)
            )
        ]

    async def take_over_stream(self, lease: Lease, stream_id: int) -> list[Stream]:
        """This stream, if its lease has run out."""
        return [
            Stream.from_row(row)
            for row in await self._rows("take_over_stream", lease.owner, lease.seconds, stream_id)
        ]

    async def attempts_at(self, cluster: str, locations: Sequence[str]) -> list[int]:
        """Claimed attempts that lack a stream, whose logs are there."""
        return [row["id"] for row in await self._rows("attempts_at", cluster, locations)]

    async def unattended_streams(
        self, clusters: Sequence[str], seconds: float, silence_seconds: float, limit: int
    ) -> list[Unattended]:
        rows = await self._rows("unattended_streams", clusters, seconds, silence_seconds, limit)
        return [Unattended(**row) for row in rows]

    async def renew(
        self, leases: Sequence[tuple[int, int]], lease_seconds: float
    ) -> dict[int, tuple[bool, str | None]]:
        """(stream, epoch) of each; of the streams that are still held, whether their attempt has its verdict,
        and for which reason.
        """
        rows = await self._rows(
            "renew_leases", [lease[0] for lease in leases], [lease[1] for lease in leases], lease_seconds
        )
        return {row["id"]: (row["is_over"], row["reason"]) for row in rows}

    async def hand_back(self, leases: Sequence[tuple[int, int]]) -> None:
        await self._run("hand_back_leases", [lease[0] for lease in leases], [lease[1] for lease in leases])

    async def append(self, appends: Sequence[Append]) -> set[int]:
        """Store at most one Append a stream; the streams of which it is stored.

        The others belong to somebody else. Safe to repeat.
        """
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
        columns: list[list[Any]] = [
            [getattr(segment, name) for _, segment in segments] for name in Segment.__slots__
        ]
        rows = await self._rows("append", *streams, [stream_id for stream_id, _ in segments], *columns)
        return {row["id"] for row in rows}

    async def lock_attempts(self, attempt_ids: Sequence[int]) -> None:
        await self._rows("lock_attempts", attempt_ids)

    async def sealed_attempts(self, attempt_ids: Sequence[int]) -> list[int]:
        """Those of these attempts whose logs are all sealed."""
        return [row["id"] for row in await self._rows("sealed_attempts", attempt_ids)]

    async def stored_segments(self, stream_id: int, first_seq: int, limit: int) -> list[tuple[bytes, int]]:
        """(data, raw_bytes) of some segments of a stream, in order."""
        return [
            (row["data"], row["raw_bytes"])
            for row in await self._rows("stored_segments", stream_id, first_seq, limit)
        ]

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


def _arguments(reach: Reach) -> tuple[bool, Sequence[str], Sequence[str]]:
    return reach.files, reach.clusters, reach.locations


LogStore = Store[LogWork]
