"""Contract tests of the sources of logs.

The contract is in `services.logsink.sources.Source`; the worlds are in `tests.contracts.log_worlds`.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from services.logsink.sources import Cursor, Reading, Source, SourceAway
from tests.contracts.log_worlds import Container, MakeSource, World, worlds
from tests.harness.waiting import until

BOUND_SECONDS = 30.0


@pytest.fixture(
    params=[
        pytest.param(name, marks=pytest.mark.kubernetes if name.startswith("real") else ()) for name in worlds
    ]
)
def opening(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AbstractAsyncContextManager[tuple[Container, MakeSource]]:
    return worlds[request.param](
        tmp_path, request.getfixturevalue("kubernetes") if request.param.startswith("real") else None
    )


@pytest.fixture
async def world(opening: AbstractAsyncContextManager[tuple[Container, MakeSource]]) -> AsyncIterator[World]:
    async with opening as (container, make):
        made = World(container, make, [])
        try:
            yield made
        finally:
            for source in made.sources:
                await source.close()


def text_of(readings: list[Reading]) -> bytes:
    return b"".join(reading.lines.text for reading in readings)


def cursor_of(readings: list[Reading]) -> Cursor:
    return next(reading.cursor for reading in reversed(readings) if reading.cursor)


async def read_until(source: Source, is_enough: Callable[[list[Reading]], object]) -> list[Reading]:
    """Read as a follower does until the condition is true."""
    readings: list[Reading] = []
    deadline = time.monotonic() + BOUND_SECONDS
    while not is_enough(readings):
        assert time.monotonic() < deadline, f"only {text_of(readings)[-300:]!r}"
        if readings and not readings[-1].more:
            await source.changed(1)
        with contextlib.suppress(SourceAway):
            readings.append(await source.read())
    return readings


async def read_text(source: Source, text: bytes) -> list[Reading]:
    """Read as many bytes as this text has, and check that they are equal to it."""
    readings = await read_until(source, lambda readings: len(text_of(readings)) >= len(text))
    assert text_of(readings) == text
    return readings


async def read_to_the_end(source: Source) -> list[Reading]:
    return await read_until(source, lambda readings: readings and readings[-1].end)


def gaps_of(readings: list[Reading]) -> list[str]:
    return [why for reading in readings for why in (reading.gap, reading.end and reading.end.gap) if why]


async def test_what_was_printed_is_read_once(world: World) -> None:
    source = world.source()
    await world.container.prints(b"one\ntwo\n")
    await read_text(source, b"one\ntwo\n")
    await world.container.prints(b"three\n")
    await read_text(source, b"three\n")
    assert text_of([await source.read()]) == b""


async def test_a_container_that_printed_nothing_yet_has_nothing_to_read(world: World) -> None:
    source = world.source()
    reading = await source.read()
    assert (reading.lines.text, reading.end, source.has_ended()) == (b"", None, False)


async def test_every_line_has_its_time(world: World) -> None:
    await world.container.prints(b"one\ntwo\n")
    readings = await read_text(world.source(), b"one\ntwo\n")
    assert [
        reading.lines.at(index) is not None for reading in readings for index in range(reading.lines.count)
    ] == [True, True]


async def test_a_source_opened_at_a_cursor_goes_on_behind_its_lines(world: World) -> None:
    await world.container.prints(b"one\ntwo\n")
    first = world.source()
    cursor = cursor_of(await read_text(first, b"one\ntwo\n"))
    await first.close()
    await world.container.prints(b"three\n")
    await world.container.ends()
    readings = await read_to_the_end(world.source(cursor))
    assert text_of(readings) == b"three\n"
    assert gaps_of(readings) == []


async def test_the_end_comes_with_the_evidence_and_after_the_last_line(world: World) -> None:
    source = world.source()
    await world.container.prints(b"one\n")
    await read_text(source, b"one\n")
    assert not source.has_ended()
    await world.container.prints(b"two\nno line feed")
    await world.container.ends()
    readings = await read_to_the_end(source)
    assert (text_of(readings), gaps_of(readings), source.has_ended()) == (b"two\nno line feed", [], True)


async def test_the_end_names_the_last_step_that_the_driver_noted(world: World) -> None:
    await world.container.prints(b"one\n")
    await world.container.ends()
    end = (await read_to_the_end(world.source()))[-1].end
    assert end
    assert end.ended_step == 1


async def test_a_line_without_a_line_feed_comes_with_the_end(world: World) -> None:
    await world.container.prints(b"one\ntwo")
    await world.container.ends()
    *before, last = await read_to_the_end(world.source())
    assert [reading for reading in before if b"two" in reading.lines.text] == []
    assert last.lines.text.endswith(b"two")


async def test_a_container_that_printed_nothing_ends_too(world: World) -> None:
    await world.container.ends()
    readings = await read_to_the_end(world.source())
    assert (text_of(readings), gaps_of(readings)) == (b"", [])


async def test_a_log_that_is_gone_ends_with_a_gap(world: World) -> None:
    await world.container.prints(b"one\n")
    first = world.source()
    cursor = cursor_of(await read_text(first, b"one\n"))
    await first.close()
    await world.container.vanishes()
    readings = await read_to_the_end(world.source(cursor))
    assert len(gaps_of(readings)) == 1


async def test_a_place_that_is_not_there_any_more_is_a_gap(world: World) -> None:
    await world.container.prints(b"one\n")
    first = world.source()
    cursor = cursor_of(await read_text(first, b"one\n"))
    await first.close()
    await world.container.ends()
    elsewhere = {name: value + 1 if isinstance(value, int) else value for name, value in cursor.items()} | (
        {"digests": 12 * "0"} if "digests" in cursor else {}
    )
    readings = await read_to_the_end(world.source(elsewhere))
    assert (text_of(readings), len(gaps_of(readings))) == (b"one\n", 1)


async def test_a_reader_is_woken_by_a_line_and_by_the_end(world: World) -> None:
    source = world.source()
    await world.container.prints(b"one\n")
    await read_text(source, b"one\n")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(source.changed(0.1), 1)
    acts: list[Callable[[], Awaitable[None]]] = [
        lambda: world.container.prints(b"two\n"),
        world.container.ends,
    ]
    for act in acts:
        waiting = asyncio.create_task(source.changed(60))
        await act()
        await asyncio.wait_for(waiting, 10)
        await source.read()


async def test_secrets_are_masked_and_long_lines_are_cut(world: World) -> None:
    await world.container.prints(b"token s3cr3t-value\n" + b"x" * 200_000 + b"\n")
    await world.container.ends()
    first, second = text_of(await read_to_the_end(world.source(secrets=(b"s3cr3t-value",)))).splitlines()
    assert first == b"token ***"
    assert len(second) < 65_536
    assert second.endswith(b" bytes]")


async def test_hostile_output_is_kept_as_it_is(world: World) -> None:
    """Only a carriage return before a line feed is lost: the container runtime drops it."""
    odd = (
        b'\xff\xfe\x00\n{"type":"ERROR","object":{"code":410}}\n2026-11-23T12:00:00.000000000Z stdout F '
        b"imitation\n\na\rb\n\x1b]52;c;x\x07\n \n"
    )
    long = b"x" * (
        9 << 20
    )  # smaller than the size at which a kubelet rotates a log, which it may do during this output
    await world.container.prints(odd + long + b"\n" + odd)
    await world.container.ends()
    readings = await read_to_the_end(world.source())
    text = text_of(readings)
    assert (text.startswith(odd), text.endswith(b" bytes]\n" + odd), gaps_of(readings)) == (True, True, [])
    assert len(text) < 2 * len(odd) + 65_537


async def test_the_end_is_there_to_be_seen_before_it_is_read(world: World) -> None:
    source = world.source()
    await source.read()
    await world.container.ends()

    async def has_ended() -> bool:
        return source.has_ended()

    await until(has_ended, within=BOUND_SECONDS, what="the end")
    assert (await read_to_the_end(source))[-1].end


async def test_closing_twice_is_no_fault(world: World) -> None:
    source = world.source()
    await world.container.prints(b"one\n")
    await source.read()
    await source.close()
    await source.close()
