"""Tests of the committer.

It stores the waiting lines of all streams together, keeps its bounds, and reports the result to each stream.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from services.logsink.committer import Committer
from services.logsink.segments import Position, Segment
from services.logsink.store import Append, Stream
from shared.errors import Transient

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def stream(number: int, epoch: int = 1) -> Stream:
    return Stream(number, epoch, number, "job", 1, "/x", "local", "t", 1, 1, None, None, None, Position())


def append(number: int, seq: int = 0, size: int = 10, epoch: int = 1, **more: object) -> Append:
    segment = Segment(seq, seq + 1, 1, NOW, NOW, size, b"x" * size)
    position = Position(seq + 1, seq + 2, (seq + 1) * size)
    return Append(stream(number, epoch), position, (segment,), **more)  # type: ignore[arg-type]  # any field


class Kept:
    """A fake database. It stores what it receives while `open` is set."""

    def __init__(self) -> None:
        self.transactions: list[list[Append]] = []
        self.open = asyncio.Event()
        self.open.set()
        self.began = asyncio.Event()
        self.refuses: Callable[[Sequence[Append]], set[int]] = lambda _: set()

    async def keep(self, appends: Sequence[Append]) -> set[int]:
        self.began.set()
        await self.open.wait()
        refused = self.refuses(appends)
        self.transactions.append(list(appends))
        return {one.stream.id for one in appends} - refused


@asynccontextmanager
async def committing(
    kept: Kept, rung: list[Append] | None = None, linger_seconds: float = 0
) -> AsyncIterator[Committer]:
    committer = Committer(
        kept.keep,
        (rung if rung is not None else []).append,
        most_bytes=100,
        most_stream_bytes=40,
        linger_seconds=linger_seconds,
    )
    running = asyncio.create_task(committer.run())
    try:
        yield committer
    finally:
        running.cancel()


async def test_what_waits_of_many_streams_is_one_transaction() -> None:
    kept, rung = Kept(), list[Append]()
    async with committing(kept, rung) as committer:
        assert all(await asyncio.gather(*[committer.submit(append(number)) for number in range(5)]))
    assert [[one.stream.id for one in transaction] for transaction in kept.transactions] == [[0, 1, 2, 3, 4]]
    assert rung == kept.transactions[0]


async def test_while_several_streams_flow_what_comes_within_a_beat_is_one_transaction() -> None:
    kept = Kept()
    async with committing(kept, linger_seconds=0.5) as committer:
        await asyncio.gather(*[committer.submit(append(number)) for number in range(2)])
        first = committer.submit(append(2))
        for _ in range(20):
            await asyncio.sleep(0)  # let other tasks run: without the beat, it would be stored by now
        await asyncio.gather(first, committer.submit(append(3)))
    assert [[one.stream.id for one in transaction] for transaction in kept.transactions] == [[0, 1], [2, 3]]


async def test_what_arrives_during_a_transaction_makes_up_the_next_in_order() -> None:
    kept = Kept()
    async with committing(kept) as committer:
        kept.open.clear()
        first = committer.submit(append(1, seq=0, cursor={"at": 0}))
        await kept.began.wait()
        committer.submit(append(1, seq=1, cursor={"at": 1}))
        last = committer.submit(append(1, seq=2, sha256=b"hash"))
        kept.open.set()
        assert await first
        assert await last
    (begin,), (rest,) = kept.transactions
    assert [segment.seq for segment in begin.segments] == [0]
    assert [segment.seq for segment in rest.segments] == [1, 2]
    assert (rest.position, rest.cursor, rest.sha256) == (append(1, seq=2).position, {"at": 1}, b"hash")


async def test_a_stream_that_belongs_to_somebody_else_is_told_so() -> None:
    kept, rung = Kept(), list[Append]()
    kept.refuses = lambda _: {2}
    async with committing(kept, rung) as committer:
        assert list(await asyncio.gather(committer.submit(append(1)), committer.submit(append(2)))) == [
            True,
            False,
        ]
    assert [one.stream.id for one in rung] == [1]


async def test_while_the_database_is_away_everything_waits_and_nothing_is_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.logsink.committer.backoff", lambda _: 0.0)
    kept = Kept()
    failures = 3

    def away(_: Sequence[Append]) -> set[int]:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise Transient("away")
        return set()

    kept.refuses = away
    async with committing(kept) as committer:
        assert await committer.submit(append(1))
    assert len(kept.transactions) == 1


async def test_a_bug_in_one_streams_rows_harms_no_other() -> None:
    kept = Kept()

    def broken(appends: Sequence[Append]) -> set[int]:
        if any(one.stream.id == 2 for one in appends):
            raise ValueError("row")
        return set()

    kept.refuses = broken
    async with committing(kept) as committer:
        assert await asyncio.gather(*[committer.submit(append(number)) for number in (1, 2, 3)]) == [
            True,
            False,
            True,
        ]


async def test_nothing_is_stored_behind_what_could_not_be_stored() -> None:
    kept = Kept()

    def broken_at_first(appends: Sequence[Append]) -> set[int]:
        if appends[0].segments[0].seq == 0:
            raise ValueError("row")
        return set()

    kept.refuses = broken_at_first
    async with committing(kept) as committer:
        kept.open.clear()
        first = committer.submit(append(1, seq=0))
        await kept.began.wait()
        second = committer.submit(append(1, seq=1))
        kept.open.set()
        assert [await first, await second] == [False, False]
        assert kept.transactions == []
        await asyncio.wait_for(committer.room_for(1), 1)


async def test_what_an_earlier_follower_left_behind_is_not_stored_with_its_successors() -> None:
    kept = Kept()
    async with committing(kept) as committer:
        kept.open.clear()
        committer.submit(append(2))
        await kept.began.wait()
        left_behind = committer.submit(append(1, seq=0))
        anew = committer.submit(append(1, seq=0, size=20, epoch=2))
        kept.open.set()
        assert [await left_behind, await anew] == [False, True]
    assert [one.segments for one in kept.transactions[1]] == [append(1, seq=0, size=20).segments]


@pytest.mark.parametrize("full", [[append(1, size=40)], [append(number, size=35) for number in (1, 2, 3)]])
async def test_a_full_stream_or_process_reads_on_after_the_commit(full: list[Append]) -> None:
    kept = Kept()
    async with committing(kept) as committer:
        await asyncio.wait_for(committer.room_for(1), 1)
        kept.open.clear()
        for one in full:
            committer.submit(one)
        waiting = asyncio.create_task(committer.room_for(1))
        await kept.began.wait()
        assert not waiting.done()
        kept.open.set()
        await asyncio.wait_for(waiting, 5)
