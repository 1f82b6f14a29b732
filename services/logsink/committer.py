"""Group commit: the streams of this process share transactions, and one transaction runs at a time.

1. A follower submits an `Append`. If no transaction is running, it is stored at once.
2. Data that is submitted during a transaction is merged by stream and stored with the next one.
3. After a transaction with several streams, the next one starts `linger_seconds` after its start at the
   earliest, so that one transaction serves many streams.
4. After COMMIT, each follower gets its result, and gateways are notified.

Failures:
- The database is away: the same transaction is tried again after a backoff. The waiting bytes are bounded:
  `room_for` makes followers wait before they read more.
- A stream has another owner: its data is refused, and the other streams are stored.
- The rows of one stream break the transaction: each stream is stored in a transaction of its own. The one
  that fails alone is refused, with everything that its follower has submitted since.
- The process dies before COMMIT: the next owner reads the lines again from the stored cursor.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter as Metric
from prometheus_client import Gauge, Histogram

from services.logsink.store import Append, LogStore
from shared.backoff import backoff
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messaging.messages import LogSealed
from shared.tracing import common, fields, traced

_log = structlog.get_logger()
_raw_bytes = Metric("towpath_logsink_stored_bytes_total", "Raw bytes of logs stored")
_segments = Metric("towpath_logsink_stored_segments_total", "Segments stored")
_fenced = Metric("towpath_logsink_fenced_total", "Writes refused because the stream has another owner")
_waiting = Gauge("towpath_logsink_waiting_bytes", "Compressed bytes that wait for their commit")
_commit_seconds = Histogram(
    "towpath_logsink_commit_seconds",
    "A transaction's time",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2),
)

Keep = Callable[[Sequence[Append]], Awaitable[set[int]]]
"""Stores all of these in one transaction; returns the ids of the streams that this process still owns.

Raises Transient. Safe to repeat.
"""


async def keep(store: LogStore, appends: Sequence[Append]) -> set[int]:
    """Stores segments, cursors and seals. Sends `LogSealed` with the last seal of an attempt. See `Keep`."""
    sealing = [append for append in appends if append.sha256 is not None]
    if not sealing:
        async with store.reading() as work:
            return await work.append(appends)
    async with store.transaction() as work:
        shared = sorted({append.stream.attempt_id for append in sealing if append.stream.containers > 1})
        if shared:
            await work.lock_attempts(shared)
        kept = await work.append(appends)
        crashpoint("logsink.sealed_not_committed")
        complete = set(await work.sealed_attempts(shared)) if shared else set()
        told: dict[str, dict[int, str | None]] = {}
        for stream in (append.stream for append in sealing if append.stream.id in kept):
            if stream.containers == 1 or stream.attempt_id in complete:
                told.setdefault(stream.cluster, {})[stream.attempt_id] = stream.traceparent
        for cluster, traces in told.items():
            with traced(common(traces.values())):
                work.send(LogSealed(cluster=cluster, attempt_ids=tuple(sorted(traces))))
    return kept


@dataclass(slots=True)
class _Waiting:
    append: Append
    stored: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Committer:
    """Collects submitted data, stores it with `keep`, and reports the results."""

    name = "committer"

    def __init__(
        self,
        keep: Keep,
        ring: Callable[[Append], None],
        *,
        most_bytes: int,
        most_stream_bytes: int,
        linger_seconds: float = 0,
    ) -> None:
        """`ring` is called for each append after its commit.

        After a transaction with several streams, the next one starts no sooner than `linger_seconds` after
        its start.
        """
        self._keep = keep
        self._ring = ring
        self._most_bytes = most_bytes
        self._most_stream_bytes = most_stream_bytes
        self._linger_seconds = linger_seconds
        self._waiting: dict[int, _Waiting] = {}
        self._bytes: Counter[int] = Counter()  # by stream: bytes that wait or are being stored
        self._all_bytes = 0
        self._woken = asyncio.Event()
        self._room = asyncio.Condition()

    def submit(self, append: Append) -> "asyncio.Future[bool]":
        """Stores this with the next transaction.

        The result is False if it was not stored: the stream has another owner, or its rows break the
        transaction.
        """
        waiting = self._waiting.get(append.stream.id)
        if waiting is not None and waiting.append.stream.epoch != append.stream.epoch:
            # submitted by an earlier follower of this process, which has lost the stream
            self._give_up(waiting)
            waiting = None
        if waiting is None:
            waiting = self._waiting[append.stream.id] = _Waiting(append)
        else:
            waiting.append = waiting.append.followed_by(append)
        self._count(append, 1)
        self._woken.set()
        return waiting.stored

    async def room_for(self, stream_id: int) -> None:
        """Waits until more of this stream may be read."""
        if self._is_full(stream_id):
            async with self._room:
                await self._room.wait_for(lambda: not self._is_full(stream_id))

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._woken.wait()
            self._woken.clear()
            taken, self._waiting = list(self._waiting.values()), {}
            if not taken:
                continue
            started = loop.time()
            await self._settle(taken)
            async with self._room:
                self._room.notify_all()
            if len(taken) > 1:
                await asyncio.sleep(max(0, started + self._linger_seconds - loop.time()))

    def _is_full(self, stream_id: int) -> bool:
        return self._bytes[stream_id] >= self._most_stream_bytes or self._all_bytes >= self._most_bytes

    async def _settle(self, taken: list[_Waiting]) -> None:
        """Stores this data; waits while the database is away.

        If the rows of one stream cause an error, the other streams are still stored.
        """
        failures = 0
        crashpoint("logsink.segments_not_stored")
        while True:
            try:
                with _commit_seconds.time():
                    kept = await self._keep([waiting.append for waiting in taken])
                break
            except Transient as error:
                failures += 1
                _log.info("commit_waits", streams=len(taken), failures=failures, why=str(error))
                await asyncio.sleep(backoff(failures))
            except Exception:  # noqa: BLE001 - one stream's rows must not stop the others
                if len(taken) == 1:
                    stream = taken[0].append.stream
                    _log.exception("commit_failed", stream_id=stream.id, **fields(stream.traceparent))
                    self._give_up(taken[0])
                    return
                for waiting in taken:
                    await self._settle([waiting])
                return
        crashpoint("logsink.segments_stored_not_told")
        for waiting in taken:
            self._tell(waiting.append, waiting.stored, is_stored=waiting.append.stream.id in kept)

    def _give_up(self, waiting: _Waiting) -> None:
        """Refuses data that could not be stored, and data that the same stream has submitted since.

        Storing the later data would leave a hole.
        """
        behind = self._waiting.get(waiting.append.stream.id)
        if behind is not None:
            del self._waiting[behind.append.stream.id]
            self._tell(behind.append, behind.stored, is_stored=False)
        if behind is not waiting:
            self._tell(waiting.append, waiting.stored, is_stored=False)

    def _tell(self, append: Append, stored: "asyncio.Future[bool]", *, is_stored: bool) -> None:
        self._count(append, -1)
        if is_stored:
            _raw_bytes.inc(sum(segment.raw_bytes for segment in append.segments))
            _segments.inc(len(append.segments))
            self._ring(append)
        else:
            _fenced.inc()
        if not stored.done():
            stored.set_result(is_stored)

    def _count(self, append: Append, sign: int) -> None:
        stream_id = append.stream.id
        self._bytes[stream_id] += sign * append.waiting_bytes
        self._all_bytes += sign * append.waiting_bytes
        if not self._bytes[stream_id]:
            del self._bytes[stream_id]
        _waiting.set(self._all_bytes)
