"""Bounded inbox between the task that reads a log stream and its follower.

If the inbox is full, the task waits, and so does the connection that it reads from.
"""

import asyncio
from collections import deque
from dataclasses import dataclass

from services.logsink.lines import NO_LINES, Lines
from services.logsink.sources import Cursor, End, Reading, SourceAway

READING_BYTES = 1 << 20


class Room:
    """Limit on the bytes that all inboxes of a process hold together."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._used = 0
        self._freed = asyncio.Condition()

    async def take(self, count: int, inbox: "Inbox") -> None:
        """Waits while all inboxes together, or this inbox, are full.

        An empty inbox always gets its bytes, so that every stream makes progress.
        """
        async with self._freed:
            await self._freed.wait_for(
                lambda: (
                    not inbox.held_bytes
                    or (self._used < self._most_bytes and inbox.held_bytes < READING_BYTES)
                )
            )
            self._used += count

    async def give_back(self, count: int) -> None:
        async with self._freed:
            self._used -= count
            self._freed.notify_all()


@dataclass(frozen=True, slots=True)
class _Item:
    lines: Lines
    cursor: Cursor | None
    gap: str | None

    @property
    def held_bytes(self) -> int:
        """Returns the size with the times. A gap without lines takes one byte."""
        return 2 * len(self.lines.text) + 1


class Inbox:
    """Lines of one stream that were read and not yet taken.

    The event `changed` is set when there are some.
    """

    def __init__(self, room: Room, changed: asyncio.Event) -> None:
        self._room = room
        self._changed = changed
        self._items: deque[_Item] = deque()
        self._failure: str | None = None
        self._rest = NO_LINES
        self.held_bytes = 0
        self.end: End | None = None

    async def put(self, lines: Lines, cursor: Cursor | None, gap: str | None = None) -> None:
        """Adds lines; waits for room. If it is cancelled while it waits, nothing was added."""
        item = _Item(lines, cursor, gap)
        await self._room.take(item.held_bytes, self)
        self.held_bytes += item.held_bytes
        self._items.append(item)
        self._failure = None
        self._changed.set()

    def put_end(self, end: End, rest: Lines = NO_LINES) -> None:
        """Adds the end, with the line without a line feed before it."""
        self.end, self._rest = end, rest
        self._changed.set()

    def put_failure(self, why: str) -> None:
        """Notes that the stream does not answer. `take` reports it once, after all earlier lines."""
        self._failure = why
        self._changed.set()

    async def take(self) -> Reading:
        """Returns the lines that are here, at most about 1 MiB, and does not wait. Raises SourceAway."""
        if not self._items:
            if self.end:
                return Reading(self._rest, end=self.end)
            if self._failure:
                why, self._failure = self._failure, None
                raise SourceAway(why)
            return Reading()
        taken = [self._items.popleft()]
        while (
            self._items
            and self._items[0].gap is None
            and sum(len(item.lines.text) for item in taken) < READING_BYTES
        ):
            taken.append(self._items.popleft())
        await self._let_go(taken)
        lines = taken[0].lines
        if len(taken) > 1:
            lines = Lines(
                b"".join(item.lines.text for item in taken),
                [stamp for item in taken for stamp in item.lines.stamps],
            )
        cursor = next((item.cursor for item in reversed(taken) if item.cursor), None)
        return Reading(lines, cursor, taken[0].gap, more=bool(self._items) or self.end is not None)

    async def close(self) -> None:
        left = list(self._items)
        self._items.clear()
        await self._let_go(left)

    async def _let_go(self, items: list[_Item]) -> None:
        freed = sum(item.held_bytes for item in items)
        self.held_bytes -= freed
        await self._room.give_back(freed)
