"""Which streams this process follows: it opens, takes over, renews leases, and gives back what it can't
finish.

A lease is the right to write a stream; the epoch in the row is what enforces it.
"""

import asyncio
from collections.abc import Callable, Sequence
from uuid import uuid4

import structlog
from prometheus_client import Gauge

from services.logsink.follower import Follower
from services.logsink.store import Lease, LogStore, Reach, Stream
from shared.crashpoint import crashpoint
from shared.errors import Conflict, Transient

_log = structlog.get_logger()
_following = Gauge("towpath_logsink_streams", "Streams that this process follows")

FollowerOf = Callable[[Stream], Follower]
_UNOPENED_AT_ONCE = 500
_REMEMBERED = 10_000


class StreamUnreadable(Exception):
    """This process can't follow the stream: no source for its location, or no key for the secrets to mask."""


class Sink:
    """The followers of this process, by stream."""

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
        """`follower_of` raises StreamUnreadable. `reach`: which logs can be read here."""
        self._store = store
        self._follower_of = follower_of
        self._reach = reach
        self._most_taken = most_taken
        self.lease = Lease(
            f"logsink-{uuid4().hex}", lease_seconds
        )  # a process anew is another owner: what it left behind is taken over like anybody's
        self._streams: dict[int, tuple[Stream, asyncio.Task[None]]] = {}
        self._followers: dict[int, Follower] = {}
        self._opened: set[int] = (
            set()
        )  # attempts whose streams this process has made: the second doorbell about them asks nobody

    async def open(self, attempt_ids: Sequence[int]) -> int:
        """Follow the containers of these attempts that nobody follows yet; how many.

        Safe to repeat. Raises Transient.
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
        """Follow what was claimed longer ago and has no stream: its message was lost. Raises Transient."""
        async with self._store.reading() as work:
            attempt_ids = await work.unopened_attempts(age_seconds, _UNOPENED_AT_ONCE)
        return await self.open(attempt_ids) if attempt_ids else 0

    async def take_over(self) -> int:
        """Follow some streams whose owner is gone; how many.

        Own leases come first: after an outage of the database all have run out. Raises Transient.
        """
        await self._renew()
        async with self._store.reading() as work:
            return self._follow(
                await work.take_over(self.lease, self._most_taken, self._reach()), self._follower_of
            )

    async def take_over_stream(self, stream_id: int, follower_of: FollowerOf) -> int:
        """Follow this one stream in this way, if nobody owns it. Raises Transient."""
        async with self._store.reading() as work:
            return self._follow(await work.take_over_stream(self.lease, stream_id), follower_of)

    async def run(self) -> None:
        """Renews leases until it is cancelled; then it hands its streams back."""
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
            if stream_id in self._streams:  # sealed meanwhile, or taken over by another
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
            if stream.id in self._streams:  # our own lease had run out; the old follower's epoch has passed
                self._streams[stream.id][1].cancel()
            task = asyncio.create_task(self._keep_following(stream, follower_of), name=f"stream {stream.id}")
            self._streams[stream.id] = (stream, task)
        _following.set(len(self._streams))
        return len(streams)

    async def _keep_following(self, stream: Stream, follower_of: FollowerOf) -> None:
        """A stream that can't be followed on is let go: its lease runs out and somebody tries again."""
        about = {
            "stream_id": stream.id,
            "attempt_id": stream.attempt_id,
            "container": stream.container,
            "epoch": stream.epoch,
        }
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
