"""Tests of the inbox: the memory for received lines is bounded, and every stream can make progress."""

import asyncio

import pytest

from services.logsink.lines import Lines
from services.logsink.sources import End, SourceAway
from services.logsink.sources.inbox import Inbox, Room

LINE = Lines(b"x" * 49 + b"\n", [b"t"])


async def is_waiting(put: "asyncio.Task[None]") -> bool:
    await asyncio.wait([put], timeout=0.05)
    return not put.done()


async def test_a_full_room_makes_streams_wait_but_each_may_hold_something() -> None:
    room = Room(150)
    first, second = (Inbox(room, asyncio.Event()) for _ in range(2))
    await first.put(LINE, None)
    await first.put(LINE, None)
    await second.put(LINE, None)
    third = asyncio.create_task(second.put(LINE, {"at": 2}))
    assert await is_waiting(third)
    await first.take()
    await asyncio.wait_for(third, 5)
    reading = await second.take()
    assert (reading.lines.count, reading.cursor, reading.more) == (2, {"at": 2}, False)


async def test_what_was_cancelled_while_it_waited_was_not_put() -> None:
    room = Room(1)
    inbox = Inbox(room, asyncio.Event())
    await inbox.put(LINE, None)
    second = asyncio.create_task(inbox.put(LINE, None))
    assert await is_waiting(second)
    second.cancel()
    assert (await inbox.take()).lines.count == 1
    assert (await inbox.take()).lines.count == 0
    await asyncio.wait_for(inbox.put(LINE, None), 5)


async def test_what_is_left_behind_is_given_back() -> None:
    room = Room(150)
    left, other = (Inbox(room, asyncio.Event()) for _ in range(2))
    for _ in range(2):
        await left.put(LINE, None)
    await left.close()
    for _ in range(2):
        await asyncio.wait_for(other.put(LINE, None), 5)


async def test_the_end_comes_with_the_line_before_it_after_all_other_lines() -> None:
    inbox = Inbox(Room(1000), asyncio.Event())
    await inbox.put(LINE, {"at": 1})
    rest = Lines(b"no line feed", [b"t"])
    inbox.put_end(End(), rest)
    first, last = await inbox.take(), await inbox.take()
    assert (first.lines, first.end, first.more) == (LINE, None, True)
    assert (last.lines, last.end) == (rest, End())


async def test_a_gap_begins_a_reading_and_a_failure_is_told_once_behind_the_lines() -> None:
    inbox = Inbox(Room(1000), asyncio.Event())
    await inbox.put(LINE, None)
    await inbox.put(LINE, None, "rotated")
    inbox.put_failure("away")
    assert (await inbox.take()).gap is None
    assert (await inbox.take()).gap == "rotated"
    with pytest.raises(SourceAway):
        await inbox.take()
    assert (await inbox.take()).lines.count == 0
