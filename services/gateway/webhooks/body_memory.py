"""Limits the memory that request bodies use, over all requests of one gateway.

1. A body takes memory as it arrives. A body of more than 1 MiB takes the rest of its announced size after its
   first bytes have arrived, so that it can be read to its end.
2. Part of the memory is reserved for small bodies. Large bodies cannot use it.
3. If there is too little memory, a body waits. Meanwhile, unfinished bodies are dropped one by one: those
   that are slow, and those whose address holds more memory than the waiting body's address would. So slow
   senders cannot block others.
4. A body that arrived completely with its headers is in memory already. It is counted and never waits.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

SMALL_BYTES = 1 << 20
"""Bodies up to this size may use the reserve. Nearly all webhooks are smaller."""
SLOW_SECONDS = 1.0
"""A body that has not received enough bytes for this long is dropped if others wait for memory."""
_CHECK_SECONDS = 0.1


class BodyMemory:
    """The memory held by request bodies at this moment."""

    def __init__(self, limit_bytes: int, reserve_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.free_bytes = limit_bytes
        self._reserve_bytes = min(reserve_bytes, limit_bytes // 4)
        self._arriving: set[Share] = set()
        self._held_by: dict[str, int] = {}
        self._released = asyncio.Event()
        self._large = asyncio.Lock()

    @contextmanager
    def share(self, address: str = "") -> Iterator["Share"]:
        """Provide one request's share of the memory, and release it when the block ends."""
        share = Share(self, address)
        try:
            yield share
        finally:
            self._arriving.discard(share)
            self.release(share)

    def count(self, share: "Share", size: int) -> None:
        """Take memory without waiting. Used for bytes that have already arrived."""
        self.free_bytes -= size
        share.held_bytes += size
        self._held_by[share.address] = self._held_by.get(share.address, 0) + size

    async def take(self, share: "Share", size: int, *, is_small: bool) -> None:
        """Take memory, and wait until enough is free. Has no time limit of its own."""
        if self._fits(size, is_small):
            self.count(share, size)
        elif is_small:
            await self._wait_for(share, size, is_small=True)
        else:
            async with self._large:  # large bodies get memory in the order of arrival
                await self._wait_for(share, size, is_small=False)

    def can_ever_fit(self, size: int, *, is_small: bool) -> bool:
        return size <= self.limit_bytes - (0 if is_small else self._reserve_bytes)

    def arriving(self, share: "Share") -> None:
        self._arriving.add(share)

    def complete(self, share: "Share") -> None:
        self._arriving.discard(share)

    def release(self, share: "Share") -> None:
        self.free_bytes += share.held_bytes
        left = self._held_by.get(share.address, 0) - share.held_bytes
        self._held_by[share.address] = left
        if left <= 0:
            del self._held_by[share.address]
        share.held_bytes = 0
        self._released.set()

    def _fits(self, size: int, is_small: bool) -> bool:
        return size <= self.free_bytes - (0 if is_small else self._reserve_bytes)

    async def _wait_for(self, share: "Share", size: int, *, is_small: bool) -> None:
        share.is_waiting = True
        try:
            while not self._fits(size, is_small):
                self._displace_one(share, size)
                self._released.clear()
                try:
                    async with asyncio.timeout(_CHECK_SECONDS):
                        await self._released.wait()
                except TimeoutError:
                    continue
        finally:
            share.is_waiting = False
        self.count(share, size)

    def _displace_one(self, waiting: "Share", size: int) -> None:
        now = asyncio.get_running_loop().time()
        ours = self._held_by.get(waiting.address, 0) + size
        others = [
            share
            for share in self._arriving
            if share is not waiting and share.held_bytes and not share.is_displaced
        ]
        yielding = [
            share
            for share in others
            if (not share.is_waiting and now - share.since >= SLOW_SECONDS)
            or (share.address != waiting.address and self._held_by[share.address] > ours)
        ]
        if yielding:
            min(yielding, key=lambda share: share.since).displace()


class Share:
    """The memory of one request, and the state of its body."""

    def __init__(self, memory: BodyMemory, address: str) -> None:
        self.memory = memory
        self.address = address
        self.held_bytes = 0
        self.is_waiting = False
        """True while the body waits for memory. Its sender is not considered slow then."""
        self.was_waiting = False
        """Like `is_waiting`, but stays true if the wait was interrupted."""
        self.is_displaced = False
        self.since = 0.0
        """Start of the current rate window, in seconds of the event loop's clock."""
        self.timer: asyncio.Timeout | None = None
        """The timeout that ends the reading of the body."""

    def displace(self) -> None:
        if self.timer is not None:
            self.is_displaced = True
            self.timer.reschedule(0)
