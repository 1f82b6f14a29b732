"""Log sinks share streams by leases. Every byte is stored once, even if log sinks are killed or paused."""

import itertools
import random

import pytest

from services.logsink.committer import keep
from services.logsink.lines import Lines
from services.logsink.segments import Writer
from services.logsink.store import Append, Lease, Reach
from tests.fakes.pod_directory import BEGINNING, FakePod, cri, stamp
from tests.harness.waiting import until
from tests.integration.logsink.running import Record, RunningSink, running_sink

FILES = Reach(files=True)


async def run_out(record: Record) -> None:
    """Let every lease expire, as after some seconds without a renewal."""
    await record.connection.execute(
        "UPDATE log_streams SET lease_until = now() - interval '1 s' WHERE sealed_at IS NULL"
    )


async def taken_over(running: RunningSink, *, within: float = 10) -> int:
    async def check() -> int:
        return await running.sink.take_over()

    return await until(check, within=within, what="a stream to take over")


async def test_a_killed_log_sinks_streams_go_on_elsewhere_exactly(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url, lease_seconds=1) as first, running_sink(database_url) as second:
        await first.sink.open([attempt_id])
        pod.write(b"one\n" * 50_000)

        async def has_some() -> bool:
            return bool(await record.text(attempt_id))

        await until(has_some, within=5, what="some lines")
        first.kill()
        pod.write(b"two\n")
        pod.end()
        assert await taken_over(second) == 1
        await record.sealed(attempt_id)
    assert await record.text(attempt_id) == b"one\n" * 50_000 + b"two\n"


async def test_a_stopped_log_sink_hands_its_streams_back_at_once(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url, lease_seconds=60) as first:
        await first.sink.open([attempt_id])
    async with running_sink(database_url) as second:
        assert await taken_over(second, within=1) == 1
        pod.write(b"hello\n")
        pod.end()
        await record.sealed(attempt_id)


async def test_a_live_lease_is_not_taken(database_url: str, record: Record, pod: FakePod) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as first, running_sink(database_url) as second:
        await first.sink.open([attempt_id])
        assert await second.sink.take_over() == 0
        await first.sink._renew()
        assert list(first.sink._streams)


async def test_a_paused_log_sinks_stale_write_is_refused(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        async with running.store.reading() as work:
            (stale,) = await work.open_streams([attempt_id], Lease("paused", 60), FILES)
        await run_out(record)
        assert await running.sink.take_over() == 1
        writer = Writer(stale.position, BEGINNING)
        late = Append(
            stale,
            writer.position,
            tuple(writer.add(Lines(b"stale\n", [stamp(0)]))),
            {"inode": 1, "offset": 1, "crc": 1},
            b"hash",
        )
        assert await keep(running.store, [late]) == set()
        pod.write(b"true\n")
        pod.end()
        await record.sealed(attempt_id)
    assert await record.text(attempt_id) == b"true\n"


async def test_a_log_sink_that_lost_a_stream_lets_it_go(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as first, running_sink(database_url) as second:
        await first.sink.open([attempt_id])
        await run_out(record)
        assert await second.sink.take_over() == 1
        await first.sink._renew()

        async def let_go() -> bool:
            return not first.sink._streams

        await until(let_go, within=5, what="letting go")


async def test_after_an_outage_a_log_sink_keeps_its_own_streams(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        await run_out(record)
        assert await running.sink.take_over() == 0
        assert list(running.sink._streams)


async def test_a_commit_whose_answer_was_lost_may_be_repeated(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        async with running.store.reading() as work:
            (stream,) = await work.open_streams([attempt_id], Lease("me", 60), FILES)
        writer = Writer(stream.position, BEGINNING)
        segments = tuple(writer.add(Lines(b"one\n", [stamp(0)])))
        append = Append(
            stream, writer.position, segments, {"inode": 1, "offset": 1, "crc": 1}, writer.sha256()
        )
        for _ in range(2):
            assert await keep(running.store, [append]) == {stream.id}
    await record.sealed(attempt_id)
    assert await record.text(attempt_id) == b"one\n"


async def test_two_log_sinks_share_what_a_third_left(database_url: str, record: Record, pod: FakePod) -> None:
    for _ in range(60):
        await record.attempt(pod.path)
    async with running_sink(database_url) as first, running_sink(database_url) as second:
        async with first.store.reading() as work:
            await work.open_streams(
                [row["id"] for row in await record.connection.fetch("SELECT id FROM attempts")],
                Lease("gone", 0),
                FILES,
            )
        assert [await first.sink.take_over(), await second.sink.take_over()] == [50, 10]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_killed_at_any_moment_the_log_is_exact(
    database_url: str, record: Record, pod: FakePod, seed: int
) -> None:
    """Write numbered lines through log rotations while the log sink is killed repeatedly.

    It is killed between a read and its commit, and at other moments.
    """
    dice = random.Random(seed)  # noqa: S311 - a test's dice, no secret
    attempt_id = await record.attempt(pod.path)
    printed = b""
    numbers = itertools.count(1)
    async with running_sink(database_url) as opener:
        await opener.sink.open([attempt_id])
        opener.kill()
    for _ in range(8):
        await run_out(record)
        async with running_sink(database_url) as running:
            await running.sink.take_over()
            for _ in range(dice.randrange(6)):
                text = b"".join(b"line %06d\n" % next(numbers) for _ in range(dice.choice([1, 10, 3000])))
                pod.append(cri(text, first=next(numbers) * 10, part_bytes=dice.choice([5, 100])))
                printed += text
                if dice.random() < 0.3:
                    pod.rotate(compress_older=dice.random() < 0.5)
                if dice.random() < 0.5:
                    async with running.store.reading() as work:  # gives the log sink some time to work
                        await work.unopened_attempts(0, 1)
            running.kill()
    pod.end()
    await run_out(record)
    async with running_sink(database_url) as running:
        await running.sink.take_over()
        stream = await record.sealed(attempt_id)
    assert await record.text(attempt_id) == printed
    assert stream["gaps"] == []
