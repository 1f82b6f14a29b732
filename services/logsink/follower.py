"""Follower: reads one stream from its stored cursor to its end, and seals it.

Viewers see lines only after they were committed.

1. The follower hashes the segments that earlier owners stored.
2. When lines are due, it reads the source, cuts the lines into segments, and submits them with the cursor.
3. At the end of the source, it submits the rest with the hash of the stream, which seals the stream.

Failures:
- The process dies before a commit: the next owner reads the same lines again from the stored cursor.
- Another process has taken the stream over: the submitted data is refused, and `run` raises Conflict.
- Lines are missing in the source: a gap marker is stored in their place.
- A step has ended, but its end marker is not in the log: a gap marker is stored at the end.
- The source does not answer: it is read again after a backoff. If the attempt has been over for
  `silence_seconds`, the stream is sealed with a gap.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

import structlog
from prometheus_client import Counter

from services.logsink.committer import Committer
from services.logsink.segments import Segment, Writer
from services.logsink.sources import End, Reading, Source, SourceAway
from services.logsink.step_ends import END_NOT_KEPT, StepEnds
from services.logsink.store import Append, LogStore, Stream
from services.logsink.threads import in_thread
from shared.backoff import backoff
from shared.errors import Conflict

_log = structlog.get_logger()
_gaps = Counter("towpath_logsink_gaps_total", "Gap markers written")
_away = Counter("towpath_logsink_source_away_total", "Reads that a source did not answer")

_INLINE_BYTES = 1 << 16
_SEGMENTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Pace:
    """Times at which the lines of a stream are read and stored; see `LogSinkSettings`."""

    quiet_seconds: float
    flow_seconds: float
    check_seconds: float
    silence_seconds: float

    def due(self, now: float, committed: float) -> float:
        """Returns when to read lines that were noticed at `now`, by the loop's clock.

        `committed` is the time of the stream's last commit. All streams whose lines keep coming are due at
        the same moments, so that they share transactions.
        """
        if now - committed > 2 * self.flow_seconds:
            return now + self.quiet_seconds
        return (now // self.flow_seconds + 1) * self.flow_seconds


class UnreadLog(NamedTuple):
    """The log to be followed. `step_ends` has no text yet."""

    source: Source
    step_ends: StepEnds


class Follower:
    """Moves one stream from its source to the committer. Its owner cancels it when the stream is lost."""

    def __init__(
        self, stream: Stream, log: UnreadLog, committer: Committer, store: LogStore, pace: Pace
    ) -> None:
        self._stream = stream
        self._source, self._step_ends = log
        self._committer = committer
        self._store = store
        self._pace = pace
        self._writer = Writer(stream.position, datetime.now(UTC))
        self._stored: asyncio.Future[bool] | None = None
        self._failures = 0

    async def run(self) -> None:
        """Follows the stream; returns when it is sealed.

        Raises Conflict if the stream has another owner, and Transient if a query fails because the database
        is away.
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
        """Notes that the stream's attempt has its verdict. Safe to repeat."""
        self._source.attempt_over(reason)

    async def _resume(self) -> None:
        """Hashes the segments that earlier owners stored."""
        for first_seq in range(0, self._stream.position.next_seq, _SEGMENTS_AT_ONCE):
            limit = min(_SEGMENTS_AT_ONCE, self._stream.position.next_seq - first_seq)
            async with self._store.reading() as work:
                stored = await work.stored_segments(self._stream.id, first_seq, limit)
            await in_thread(partial(self._writer.resume, stored, self._step_ends.add))

    async def _read_what_is_there(self) -> bool:
        """Submits everything that can be read at once; returns True if the source has ended."""
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
        self._step_ends.add(reading.lines.text)
        gap_at_end = self._gap_at(reading.end) if reading.end else None
        lines = reading.lines.ended() if gap_at_end else reading.lines
        if len(lines.text) > _INLINE_BYTES:
            segments += await in_thread(partial(self._writer.add, lines))
        else:
            segments += self._writer.add(lines)
        if gap_at_end:
            segments += self._mark_gap(gap_at_end)
        return segments

    def _gap_at(self, end: End) -> str | None:
        """Returns why lines may be missing at the end of the log, or None if it is complete."""
        return end.gap or (None if self._step_ends.has(end.ended_step) else END_NOT_KEPT)

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
        """Waits until the last submitted data is stored; returns False if there was none."""
        if self._stored is None:
            return False
        await self._stored
        self._check_stored()
        self._stored = None
        return True

    def _check_stored(self) -> None:
        """Raises Conflict if the last submitted data was refused, so that nothing is submitted after it.

        Otherwise a stream that always has more to read would never notice the refusal.
        """
        if self._stored is not None and self._stored.done() and not self._stored.result():
            raise Conflict(f"stream {self._stream.id} has another owner")

    async def _until_due(self, committed: float) -> None:
        loop = asyncio.get_running_loop()
        await self._source.changed(self._pace.check_seconds)
        due = self._pace.due(loop.time(), committed)
        while (left := due - loop.time()) > 0 and not self._source.has_ended():
            await self._source.changed(left)

    async def _after_silence(self, error: SourceAway) -> Reading:
        """Handles a source that does not answer.

        Returns an end with a gap if the attempt has been over for `silence_seconds`. Otherwise waits for a
        backoff and returns a reading without lines, so that the source is read again.
        """
        _away.inc()
        self._failures += 1
        _log.warning("source_away", stream_id=self._stream.id, failures=self._failures, why=str(error))
        async with self._store.reading() as work:
            if await work.attempt_over_for(self._stream.id, self._pace.silence_seconds):
                return Reading(end=End("its source did not answer any more"))
        await asyncio.sleep(backoff(self._failures, first=0.5, most=30))
        return Reading(more=True)
