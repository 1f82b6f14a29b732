"""The live logs of runs: committed first, shown second.

Each run that somebody watches has one `Watch`. Doorbells (`log.appended`, `run.*`, `log.sealed`) wake it, and
it looks by itself every few seconds. Watchers hold nothing but their positions: each reads on at its own
pace, and what one of them reads the others find in a bounded memory, so that Postgres is read once for all of
them.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from services.gateway.log_lines import Chunk, Stream, chunk_of, unpacked
from services.gateway.store import GatewayStore
from shared import step_markers
from shared.statuses import TERMINAL, Status

LOOK_SECONDS = 3.0
SEGMENTS_AT_ONCE = 16
KEPT_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class LogState:
    """What a run's logs consist of at one moment."""

    status: Status
    reason: str | None
    is_complete: bool
    """The run is over and every stream sealed: nothing follows."""
    streams: tuple[Stream, ...]
    next_lines: dict[int, int]
    """Of each stream the line after the last one stored."""


class Watch:
    """One run, and whoever watches it."""

    def __init__(self, run_id: int) -> None:
        self.run_id = run_id
        self.watchers = 0
        self.version = 0
        """Counts what was heard."""
        self._heard = asyncio.Event()
        self._state: LogState | None = None
        self._next_lines: dict[
            int, int
        ] = {}  # heard by doorbells; may be ahead of the state, whose look may have begun before
        self._looked_at = 0.0
        self._is_stale = True
        self._looking = asyncio.Lock()

    def appended(self, stream_id: int, next_line: int) -> None:
        self._next_lines[stream_id] = max(self._next_lines.get(stream_id, 1), next_line)
        if self._state is None or stream_id not in self._state.next_lines:
            self._is_stale = True
        self.wake()

    def sealed(self) -> None:
        """Streams were sealed; of this run or another. While the run goes on, more will follow anyway."""
        if self._state is None or self._state.status in TERMINAL:
            self.changed()

    def next_line(self, stream: Stream) -> int:
        """The line after the last one stored, as far as is known."""
        stored = self._state.next_lines.get(stream.id, 1) if self._state else 1
        return max(stored, self._next_lines.get(stream.id, 1))

    def changed(self) -> None:
        """The run's status or its streams may be others."""
        self._is_stale = True
        self.wake()

    def wake(self) -> None:
        self.version += 1
        self._heard.set()
        self._heard = asyncio.Event()

    async def heard_since(self, version: int, seconds: float) -> None:
        """Returns when something was heard after this version, or after so many seconds."""
        heard = self._heard
        if self.version != version:
            return
        try:
            async with asyncio.timeout(seconds):
                await heard.wait()
        except TimeoutError:
            return

    async def state(self, store: GatewayStore) -> LogState | None:
        """As it is now; read once for all who ask. None: there is no such run any more. Raises Transient."""
        async with self._looking:
            if self._is_stale or time.monotonic() - self._looked_at > LOOK_SECONDS:
                self._is_stale = False
                try:
                    self._state = await _look(store, self.run_id)
                except BaseException:
                    self._is_stale = True
                    raise
                self._looked_at = time.monotonic()
            return self._state


async def _look(store: GatewayStore, run_id: int) -> LogState | None:
    async with store.reading() as work:
        run = await work.log_state(run_id)  # before the streams: what is complete here has all of them
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
    """All watches of this gateway, and the chunks that their watchers share."""

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
        """The run's watch, with one watcher more; to be given back to `unwatch`."""
        watch = self._watches.setdefault(run_id, Watch(run_id))
        watch.watchers += 1
        return watch

    def unwatch(self, watch: Watch) -> None:
        watch.watchers -= 1
        if not watch.watchers:
            self._watches.pop(watch.run_id, None)

    def appended(self, appended: Iterable[tuple[int, int, int]]) -> None:
        """(stream id, run id, next line) of each."""
        for stream_id, run_id, next_line in appended:
            if watch := self._watches.get(run_id):
                watch.appended(stream_id, next_line)

    def runs_changed(self, run_ids: Iterable[int]) -> None:
        for run_id in run_ids:
            if watch := self._watches.get(run_id):
                watch.changed()

    def sealed(self) -> None:
        """Something was sealed; which run it belongs to isn't said."""
        for watch in self._watches.values():
            watch.sealed()

    def close(self) -> None:
        """Ends every stream: the gateway stops, and its clients reconnect elsewhere."""
        self.is_closing = True
        for watch in self._watches.values():
            watch.wake()

    async def chunks(self, stream_id: int, from_line: int) -> list[Chunk]:
        """Some of the stream's chunks, the first with this line in it; none when nothing is stored there.

        One read serves all. Raises Transient.
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
            reading.exception()  # whoever asked may have gone away

    def _keep(self, key: tuple[int, int], chunks: list[Chunk]) -> None:
        self._kept[key] = chunks
        self._kept_bytes += _size(chunks)
        while self._kept_bytes > KEPT_BYTES:
            _, dropped = self._kept.popitem(last=False)
            self._kept_bytes -= _size(dropped)


def _size(chunks: list[Chunk]) -> int:
    return sum(chunk.size_bytes for chunk in chunks)
