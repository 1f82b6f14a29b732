"""Follows one stream from where it stands to its seal.

It reads when lines are due, cuts them into segments and submits them; what it has not stored it would read
again. Committed first, shown second.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import structlog
from prometheus_client import Counter

from services.logsink.committer import Committer
from services.logsink.segments import Segment, Writer
from services.logsink.sources import End, Reading, Source, SourceAway
from services.logsink.store import Append, LogStore, Stream
from services.logsink.threads import in_thread
from shared.errors import Conflict
from shared.patience import backoff

_log = structlog.get_logger()
_gaps = Counter("towpath_logsink_gaps_total", "Gap markers written")
_away = Counter("towpath_logsink_source_away_total", "Reads that a source did not answer")

_INLINE_BYTES = 1 << 16
_SEGMENTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Pace:
    """When a stream's lines are read and stored; see `LogSinkSettings`."""

    quiet_seconds: float
    flow_seconds: float
    look_seconds: float
    silence_seconds: float

    def due(self, now: float, committed: float) -> float:
        """When lines are read that were noticed at `now`, by the loop's clock; `committed` is when the stream
        last stored some.

        Streams that flow keep one beat, so that they share transactions.
        """
        if now - committed > 2 * self.flow_seconds:
            return now + self.quiet_seconds
        return (now // self.flow_seconds + 1) * self.flow_seconds


class Follower:
    """One stream's way from its source to the committer. Its owner cancels it when the stream is lost."""

    def __init__(
        self, stream: Stream, source: Source, committer: Committer, store: LogStore, pace: Pace
    ) -> None:
        self._stream = stream
        self._source = source
        self._committer = committer
        self._store = store
        self._pace = pace
        self._writer = Writer(stream.position, datetime.now(UTC))
        self._stored: asyncio.Future[bool] | None = None
        self._failures = 0

    async def run(self) -> None:
        """Returns when the stream is sealed.

        Raises Conflict when it belongs to somebody else, Transient when the database is away at the start.
        """
        loop = asyncio.get_running_loop()
        try:
            await self._resume()
            committed = 0.0
            while not await self._read_what_is_there():
                if await self._until_stored():
                    committed = loop.time()
                await self._until_due(committed)
            await self._until_stored()
        finally:
            await self._source.close()

    def attempt_over(self, reason: str | None) -> None:
        """The stream's attempt has its verdict. Safe to repeat."""
        self._source.attempt_over(reason)

    async def _resume(self) -> None:
        """Hash what earlier owners stored."""
        for first_seq in range(0, self._stream.position.next_seq, _SEGMENTS_AT_ONCE):
            limit = min(_SEGMENTS_AT_ONCE, self._stream.position.next_seq - first_seq)
            async with self._store.reading() as work:
                stored = await work.stored_segments(self._stream.id, first_seq, limit)
            await in_thread(partial(self._writer.resume, stored))

    async def _read_what_is_there(self) -> bool:
        """Submits all that can be read at once; True when that was the end."""
        while True:
            await self._committer.room_for(self._stream.id)
            try:
                reading = await self._source.read()
            except SourceAway as error:
                reading = await self._after_silence(error)
            else:
                self._failures = 0
            segments = await self._cut(reading)
            if segments or reading.end:
                self._check_stored()
                seal = self._writer.sha256() if reading.end else None
                self._stored = self._committer.submit(
                    Append(self._stream, self._writer.position, tuple(segments), reading.cursor, seal)
                )
            if reading.end or not reading.more:
                return reading.end is not None

    async def _cut(self, reading: Reading) -> list[Segment]:
        segments: list[Segment] = []
        if reading.gap:
            segments += self._mark_gap(reading.gap)
        if len(reading.lines.text) > _INLINE_BYTES:
            segments += await in_thread(partial(self._writer.add, reading.lines))
        else:
            segments += self._writer.add(reading.lines)
        if reading.end and reading.end.gap:
            segments += self._mark_gap(reading.end.gap)
        return segments

    def _mark_gap(self, why: str) -> list[Segment]:
        _gaps.inc()
        _log.warning(
            "log_gap",
            stream_id=self._stream.id,
            attempt_id=self._stream.attempt_id,
            container=self._stream.container,
            why=why,
        )
        return self._writer.add_gap(why, datetime.now(UTC))

    async def _until_stored(self) -> bool:
        """Whether there was something to store."""
        if self._stored is None:
            return False
        await self._stored
        self._check_stored()
        self._stored = None
        return True

    def _check_stored(self) -> None:
        """Nothing is submitted behind what was refused: a stream that always has more to read would never
        hear of it. Raises Conflict.
        """
        if self._stored is not None and self._stored.done() and not self._stored.result():
            raise Conflict(f"stream {self._stream.id} has another owner")

    async def _until_due(self, committed: float) -> None:
        loop = asyncio.get_running_loop()
        await self._source.changed(self._pace.look_seconds)
        due = self._pace.due(loop.time(), committed)
        while (left := due - loop.time()) > 0 and not self._source.has_ended():
            await self._source.changed(left)

    async def _after_silence(self, error: SourceAway) -> Reading:
        """The source does not answer: only evidence or a whole day of it after the attempt was over is an
        end.
        """
        _away.inc()
        self._failures += 1
        _log.warning("source_away", stream_id=self._stream.id, failures=self._failures, why=str(error))
        async with self._store.reading() as work:
            if await work.attempt_over_for(self._stream.id, self._pace.silence_seconds):
                return Reading(end=End("its source did not answer any more"))
        await asyncio.sleep(backoff(self._failures, first=0.5, most=30))
        return Reading(more=True)
