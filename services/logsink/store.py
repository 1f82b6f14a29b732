"""Store of the log sink: streams with their leases, and segments.

A stream is written only under its epoch. Each new owner raises the epoch, and writes of an earlier owner are
refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import asyncpg
import orjson

from services.logsink.segments import Gap, Position, Segment
from services.logsink.sources import Cursor
from shared.database.store import Store, Work


@dataclass(frozen=True, slots=True)
class Stream:
    """The log of one container of one attempt, as read when its owner took it."""

    id: int
    epoch: int
    attempt_id: int
    container: str
    run_id: int
    location: str
    cluster: str
    creation_token: str = field(repr=False)
    """The step markers of the attempt are derived from it."""
    containers: int
    """Number of containers of the attempt."""
    repository_id: int
    clone_token: bytes | None
    """Encrypted, like `webhook_secret`."""
    webhook_secret: bytes | None
    cursor: Cursor | None
    position: Position
    secret_versions: list[int] | None = None
    """The ids of the versions of secrets that the attempt got; None if its job lists none."""
    secret_values: list[bytes] = field(default_factory=list, repr=False)
    """Encrypted, in the order of the ids."""
    traceparent: str | None = None
    """The trace of its attempt."""

    @classmethod
    def from_row(cls, row: asyncpg.Record) -> "Stream":
        gaps = tuple(Gap(gap["line"], gap["reason"]) for gap in row["gaps"])
        position = Position(row["next_seq"], row["next_line"], row["stored_bytes"], gaps)
        return cls(position=position, **{name: row[name] for name in cls.__slots__ if name != "position"})


@dataclass(frozen=True, slots=True)
class Reach:
    """The logs that a process can read."""

    files: bool = False
    """True for the logs of this machine's local cluster."""
    clusters: tuple[str, ...] = ()
    """Clusters whose logs are read through their API servers."""
    locations: tuple[str, ...] = ()
    """Locations of logs on this node."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write streams for a limited time."""

    owner: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Unattended:
    """A stream that must be read on a node, but that no agent there reads."""

    id: int
    container: str
    location: str
    cluster: str
    is_over: bool
    """True if its attempt has its verdict; `reason` is the verdict's reason."""
    reason: str | None
    is_long_over: bool
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Append:
    """The data of a stream to be stored in one transaction."""

    stream: Stream
    position: Position
    """Position after these segments."""
    segments: tuple[Segment, ...] = ()
    cursor: Cursor | None = None
    """Position from which the source is read next. None leaves the stored cursor unchanged."""
    sha256: bytes | None = None
    """Hash of the whole stream. If it is set, the stream is sealed."""

    def followed_by(self, later: "Append") -> "Append":
        return replace(later, segments=self.segments + later.segments, cursor=later.cursor or self.cursor)

    @property
    def waiting_bytes(self) -> int:
        return sum(len(segment.data) for segment in self.segments)


class LogWork(Work):
    """One transaction over streams and segments."""

    async def open_streams(self, attempt_ids: Sequence[int], lease: Lease, reach: Reach) -> list[Stream]:
        """Creates the missing streams of these attempts.

        Returns the new streams that are in reach; they belong to the owner of the lease.
        """
        return [
            Stream.from_row(row)
            for row in await self._rows(
                "open_streams", attempt_ids, lease.owner, lease.seconds, *_arguments(reach)
            )
        ]

    async def take_over(self, lease: Lease, limit: int, reach: Reach) -> list[Stream]:
        """Takes over streams in reach whose lease has expired.

        They belong to the owner of the new lease, under a higher epoch.
        """
        return [
            Stream.from_row(row)
            for row in await self._rows(
                "take_over_streams", lease.owner, lease.seconds, limit, *_arguments(reach)
            )
        ]

    async def take_over_stream(self, lease: Lease, stream_id: int) -> list[Stream]:
        """Takes over this stream, if its lease has expired."""
        return [
            Stream.from_row(row)
            for row in await self._rows("take_over_stream", lease.owner, lease.seconds, stream_id)
        ]

    async def attempts_at(self, cluster: str, locations: Sequence[str]) -> list[int]:
        """Returns claimed attempts whose logs are at these locations and that lack a stream."""
        return [row["id"] for row in await self._rows("attempts_at", cluster, locations)]

    async def unattended_streams(
        self, clusters: Sequence[str], seconds: float, silence_seconds: float, limit: int
    ) -> list[Unattended]:
        rows = await self._rows("unattended_streams", clusters, seconds, silence_seconds, limit)
        return [Unattended(**row) for row in rows]

    async def renew(
        self, leases: Sequence[tuple[int, int]], lease_seconds: float
    ) -> dict[int, tuple[bool, str | None]]:
        """Renews the leases of these (stream id, epoch).

        Returns the streams that are still held, each with whether its attempt has its verdict, and the
        reason.
        """
        rows = await self._rows(
            "renew_leases", [lease[0] for lease in leases], [lease[1] for lease in leases], lease_seconds
        )
        return {row["id"]: (row["is_over"], row["reason"]) for row in rows}

    async def hand_back(self, leases: Sequence[tuple[int, int]]) -> None:
        await self._run("hand_back_leases", [lease[0] for lease in leases], [lease[1] for lease in leases])

    async def append(self, appends: Sequence[Append]) -> set[int]:
        """Stores at most one Append per stream; returns the ids of the streams that were stored.

        The other streams have another owner. Safe to repeat.
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
        """Returns those of these attempts whose logs are all sealed."""
        return [row["id"] for row in await self._rows("sealed_attempts", attempt_ids)]

    async def stored_segments(self, stream_id: int, first_seq: int, limit: int) -> list[tuple[bytes, int]]:
        """Returns (data, raw_bytes) of some segments of a stream, in order."""
        return [
            (row["data"], row["raw_bytes"])
            for row in await self._rows("stored_segments", stream_id, first_seq, limit)
        ]

    async def attempt_over_for(self, stream_id: int, seconds: float) -> bool:
        return bool(await self._value("attempt_over_for", stream_id, seconds))

    async def unopened_attempts(self, age_seconds: float, limit: int) -> list[int]:
        """Returns claimed attempts that lack a stream."""
        return [row["id"] for row in await self._rows("unopened_attempts", age_seconds, limit)]

    async def expired_streams(self, limit: int) -> list[int]:
        return [row["id"] for row in await self._rows("expired_streams", limit)]

    async def delete_segments(self, stream_id: int, limit: int) -> int:
        """Deletes some segments of a stream; returns how many."""
        return await self._run("delete_segments", stream_id, limit)

    async def delete_stream(self, stream_id: int) -> None:
        """Deletes a stream. The caller has deleted its segments."""
        await self._run("delete_stream", stream_id)


def _arguments(reach: Reach) -> tuple[bool, Sequence[str], Sequence[str]]:
    return reach.files, reach.clusters, reach.locations


LogStore = Store[LogWork]
