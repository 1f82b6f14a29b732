"""Streams and leases of this process: opens and takes over streams, renews leases, and hands them back.

A lease is the right to write a stream. The epoch in the stream's row enforces it: each new owner raises the
epoch, and writes under an earlier epoch are refused.

1. `open` creates the streams of claimed attempts. The process that creates a stream owns it.
2. A follower reads and stores the stream. `run` renews all leases after each third of their length.
3. The follower seals the stream and ends.

Failures:
- The process is killed: its leases expire, and `take_over` of another process continues at the stored cursor.
- The process is stopped: it hands its leases back, so that others need not wait for them to expire.
- The message about an attempt is lost: `open_forgotten` opens its streams.
- The database is away for longer than a lease: each process first renews its own leases, which succeeds
  unless another process has taken the stream over.
- Another process has taken the stream over: the renewal no longer includes it, and the follower is cancelled.
- A stream cannot be followed: its lease is no longer renewed, and after it expires any process tries again.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import Gauge

from services.logsink.follower import Follower
from services.logsink.store import Lease, LogStore, Reach, Stream
from shared.crashpoint import crashpoint
from shared.errors import Conflict, Transient
from shared.tracing import traced

_log = structlog.get_logger()
_following = Gauge("towpath_logsink_streams", "Streams that this process follows")

FollowerOf = Callable[[Stream], Follower]
_UNOPENED_AT_ONCE = 500
_REMEMBERED = 10_000


class StreamUnreadable(Exception):
    """This process cannot follow the stream.

    It has no source for the stream's location, or no key for the secrets to mask.
    """


class Sink:
    """The streams that this process owns, with their followers."""

    name = "leases"

    def __init__(
        self,
        store: LogStore,
        follower_of: FollowerOf,
        reach: Callable[[], Reach],
        *,
        lease_seconds: float,
        most_taken: int,
    ) -> None:
        """`follower_of` may raise StreamUnreadable. `reach` returns which logs this process can read."""
        self._store = store
        self._follower_of = follower_of
        self._reach = reach
        self._most_taken = most_taken
        # each process is a new owner: streams of an earlier one are taken over like any others
        self.lease = Lease(f"logsink-{uuid4().hex}", lease_seconds)
        self._streams: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._followers: dict[int, Follower] = {}
        # attempts whose streams this process has opened: a second message about them needs no query
        self._opened: set[int] = set()

    async def open(self, attempt_ids: Sequence[int]) -> int:
        """Opens the streams of these attempts that do not exist yet, and follows those that can be read here.

        Returns how many it follows. Safe to repeat. Raises Transient.
        """
        unknown = [attempt_id for attempt_id in attempt_ids if attempt_id not in self._opened]
        if not unknown:
            return 0
        async with self._store.reading() as work:
            streams = await work.open_streams(unknown, self.lease, self._reach())
        crashpoint("logsink.opened_not_followed")
        if len(self._opened) > _REMEMBERED:
            self._opened.clear()
        self._opened.update(stream.attempt_id for stream in streams)
        return self._follow(streams, self._follower_of)

    async def open_forgotten(self, age_seconds: float) -> int:
        """Opens the streams of attempts that were claimed longer than `age_seconds` ago and have none.

        Their message was lost. Returns how many are followed. Raises Transient.
        """
        async with self._store.reading() as work:
            attempt_ids = await work.unopened_attempts(age_seconds, _UNOPENED_AT_ONCE)
        return await self.open(attempt_ids) if attempt_ids else 0

    async def take_over(self) -> int:
        """Follows some streams whose lease has expired; returns how many.

        Own leases are renewed first, because after an outage of the database all leases have expired. Raises
        Transient.
        """
        await self._renew()
        async with self._store.reading() as work:
            return self._follow(
                await work.take_over(self.lease, self._most_taken, self._reach()), self._follower_of
            )

    async def take_over_stream(self, stream_id: int, follower_of: FollowerOf) -> int:
        """Follows this stream with a follower from `follower_of`, if its lease has expired.

        Returns how many it follows. Raises Transient.
        """
        async with self._store.reading() as work:
            return self._follow(await work.take_over_stream(self.lease, stream_id), follower_of)

    async def run(self) -> None:
        """Renews leases until it is cancelled; then hands its streams back."""
        try:
            while True:
                await asyncio.sleep(self.lease.seconds / 3)
                try:
                    await self._renew()
                except Transient as error:
                    _log.info("lease_renewal_waits", why=str(error))
        finally:
            await self._hand_back()

    async def _renew(self) -> None:
        if not self._streams:
            return
        leases = [(stream.id, stream.epoch) for stream, _ in self._streams.values()]
        async with self._store.reading() as work:
            held = await work.renew(leases, self.lease.seconds)
        for stream_id in {stream_id for stream_id, _ in leases} - held.keys():
            if stream_id in self._streams:  # sealed meanwhile, or taken over by another process
                self._streams[stream_id][1].cancel()
        for stream_id, (is_over, reason) in held.items():
            if is_over and stream_id in self._followers:
                self._followers[stream_id].attempt_over(reason)

    async def _hand_back(self) -> None:
        held = list(self._streams.values())
        for _, task in held:
            task.cancel()
        if not held:
            return
        await asyncio.wait([task for _, task in held])
        try:
            async with self._store.reading() as work:
                await work.hand_back([(stream.id, stream.epoch) for stream, _ in held])
        except Transient as error:
            _log.info("leases_run_out", streams=len(held), why=str(error))

    def _follow(self, streams: list[Stream], follower_of: FollowerOf) -> int:
        for stream in streams:
            if stream.id in self._streams:  # our own lease had expired; the old follower has an old epoch
                self._streams[stream.id][1].cancel()
            task = asyncio.create_task(self._keep_following(stream, follower_of), name=f"stream {stream.id}")
            self._streams[stream.id] = (stream, task)
        _following.set(len(self._streams))
        return len(streams)

    async def _keep_following(self, stream: Stream, follower_of: FollowerOf) -> None:
        """Runs the follower of a stream until it ends or fails.

        After a failure the lease is no longer renewed. When it has expired, any process tries again.
        """
        about = {
            "stream_id": stream.id,
            "attempt_id": stream.attempt_id,
            "container": stream.container,
            "epoch": stream.epoch,
        }
        with traced(stream.traceparent):
            await self._follow_one(stream, follower_of, about)

    async def _follow_one(self, stream: Stream, follower_of: FollowerOf, about: dict[str, Any]) -> None:
        try:
            follower = self._followers[stream.id] = follower_of(stream)
            await follower.run()
            _log.debug("log_sealed", **about)
        except Conflict:
            _log.info("stream_lost", **about)
        except (Transient, StreamUnreadable) as error:
            _log.warning("stream_let_go", **about, why=str(error))
        except Exception:  # noqa: BLE001 - a follower's outermost edge: a bug in one must not end the others
            _log.exception("follower_failed", **about)
        finally:
            if self._streams.get(stream.id, (None, None))[0] is stream:
                del self._streams[stream.id]
                self._followers.pop(stream.id, None)
                _following.set(len(self._streams))
