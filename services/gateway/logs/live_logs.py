"""Live logs of runs. Only committed lines are sent to clients.

1. Each run with at least one open stream has one `Watch`.
2. Notifications (`log.appended`, `run.*`, `log.sealed`) wake the watch. Its clients then read the run's state
   and the new lines from Postgres.
3. Each client has only its own positions and reads at its own pace. Lines that one client has read stay in a
   bounded cache for the others, so Postgres is read once for all.

Failures:
- A notification is lost: the state is read again when it is older than `CHECK_SECONDS`.
- The gateway stops: every stream ends, and its client reconnects to another gateway with its last position.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from services.gateway.logs.log_lines import Chunk, Stream, chunk_of, unpacked
from services.gateway.store import GatewayStore
from shared import step_markers
from shared.statuses import TERMINAL, Status

CHECK_SECONDS = 3.0
SEGMENTS_AT_ONCE = 16
KEPT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class LogState:
    """The state of a run's logs at one moment."""

    status: Status
    reason: str | None
    is_complete: bool
    """True if the run is over and every stream is sealed. No more lines follow."""
    streams: tuple[Stream, ...]
    next_lines: dict[int, int]
    """The number of the line after the last stored one, by stream id."""


class Watch:
    """A run with open live streams."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        self.watchers = 0
        self.version = 0
        """The number of notifications so far."""
        self._heard = asyncio.Event()
        self._state: LogState | None = None
        self._next_lines: dict[
            int, int
        ] = {}  # from notifications; may be newer than the state, which may have been read before them
        self._checked_at = 0.0
        self._is_stale = True
        self._checking = asyncio.Lock()

    def appended(self, stream_id: int, next_line: int) -> None:
        self._next_lines[stream_id] = max(self._next_lines.get(stream_id, 1), next_line)
        if self._state is None or stream_id not in self._state.next_lines:
            self._is_stale = True
        self.wake()

    def sealed(self) -> None:
        """Handle the sealing of streams of any run.

        A running run is not read again, because more notifications will follow.
        """
        if self._state is None or self._state.status in TERMINAL:
            self.changed()

    def next_line(self, stream: Stream) -> int:
        """Return the number of the line after the last stored one, as far as it is known here."""
        stored = self._state.next_lines.get(stream.id, 1) if self._state else 1
        return max(stored, self._next_lines.get(stream.id, 1))

    def changed(self) -> None:
        """Handle a possible change of the run's status or its streams."""
        self._is_stale = True
        self.wake()

    def wake(self) -> None:
        self.version += 1
        self._heard.set()
        self._heard = asyncio.Event()

    async def heard_since(self, version: int, seconds: float) -> None:
        """Wait for a notification after this version, for at most `seconds`."""
        heard = self._heard
        if self.version != version:
            return
        try:
            async with asyncio.timeout(seconds):
                await heard.wait()
        except TimeoutError:
            return

    async def state(self, store: GatewayStore) -> LogState | None:
        """Return the current state, or None if the run no longer exists. Raises Transient.

        Concurrent callers share one read.
        """
        async with self._checking:
            if self._is_stale or time.monotonic() - self._checked_at > CHECK_SECONDS:
                self._is_stale = False
                try:
                    self._state = await _check(store, self.run_id)
                except BaseException:
                    self._is_stale = True
                    raise
                self._checked_at = time.monotonic()
            return self._state


async def _check(store: GatewayStore, run_id: int) -> LogState | None:
    async with store.reading() as work:
        # read before the streams: if the run is complete here, the streams read next are all of them
        run = await work.log_state(run_id)
        streams = await work.log_streams(run_id)
    if run is None:
        return None
    status = Status(run["status"])
    return LogState(
        status,
        run["reason"],
        status in TERMINAL and run["is_sealed"],
        tuple(
            Stream(
                row["id"],
                row["job"],
                row["attempt"],
                row["container"],
                step_markers.nonce(row["creation_token"]),
            )
            for row in streams
        ),
        {row["id"]: row["next_line"] for row in streams},
    )


class LiveLogs:
    """All watches of this gateway, and the cache of chunks that their clients share."""

    def __init__(self, store: GatewayStore) -> None:
        self.store = store
        self._watches: dict[int, Watch] = {}
        self._reading: dict[tuple[int, int], asyncio.Task[list[Chunk]]] = {}
        self._kept: OrderedDict[tuple[int, int], list[Chunk]] = OrderedDict()
        self._kept_bytes = 0
        self.is_closing = False

    @property
    def watchers(self) -> int:
        return sum(watch.watchers for watch in self._watches.values())

    def watch(self, run_id: int) -> Watch:
        """Return the run's watch and add one watcher. The caller must pass it to `unwatch` later."""
        watch = self._watches.setdefault(run_id, Watch(run_id))
        watch.watchers += 1
        return watch

    def unwatch(self, watch: Watch) -> None:
        watch.watchers -= 1
        if not watch.watchers:
            self._watches.pop(watch.run_id, None)

    def appended(self, appended: Iterable[tuple[int, int, int]]) -> None:
        """Handle new lines. Each item is (stream id, run id, next line)."""
        for stream_id, run_id, next_line in appended:
            if watch := self._watches.get(run_id):
                watch.appended(stream_id, next_line)

    def runs_changed(self, run_ids: Iterable[int]) -> None:
        for run_id in run_ids:
            if watch := self._watches.get(run_id):
                watch.changed()

    def sealed(self) -> None:
        """Handle the sealing of streams. The message does not name the run, so every watch is notified."""
        for watch in self._watches.values():
            watch.sealed()

    def close(self) -> None:
        """End every stream because the gateway stops. Clients reconnect to another gateway."""
        self.is_closing = True
        for watch in self._watches.values():
            watch.wake()

    async def chunks(self, stream_id: int, from_line: int) -> list[Chunk]:
        """Return chunks of the stream, the first containing `from_line`. Empty if no such line is stored.

        Concurrent callers for the same position share one read. Raises Transient.
        """
        key = (stream_id, from_line)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        reading = self._reading.get(key)
        if reading is None:
            reading = asyncio.create_task(self._read(key))
            self._reading[key] = reading
            reading.add_done_callback(partial(self._has_read, key))
        return await asyncio.shield(reading)

    async def _read(self, key: tuple[int, int]) -> list[Chunk]:
        stream_id, from_line = key
        async with self.store.reading() as work:
            rows = await work.segments(stream_id, from_line, SEGMENTS_AT_ONCE)
        chunks = [
            chunk_of(row["first_line"], unpacked(row["data"], row["raw_bytes"]))
            for row in rows
            if row["first_line"] + row["line_count"] > from_line
        ]
        if chunks:
            self._keep(key, chunks)
        return chunks

    def _has_read(self, key: tuple[int, int], reading: "asyncio.Task[list[Chunk]]") -> None:
        self._reading.pop(key, None)
        if not reading.cancelled():
            reading.exception()  # retrieve the error, because all callers may be gone

    def _keep(self, key: tuple[int, int], chunks: list[Chunk]) -> None:
        self._kept[key] = chunks
        self._kept_bytes += _size(chunks)
        while self._kept_bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= _size(dropped)


def _size(chunks: list[Chunk]) -> int:
    return sum(chunk.size_bytes for chunk in chunks)
