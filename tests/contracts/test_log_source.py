"""What every source of logs promises: see `services.logsink.sources.Source`. A new source adds its world to `worlds`."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Protocol

import pytest

from services.logsink.masking import Masker
from services.logsink.pod_directory import PodDirectory
from services.logsink.sources import Cursor, Reading, Source
from services.logsink.sources.cri_files import CriFileSource
from services.logsink.wakeups import Wakeups
from tests.fakes.pod_directory import FakePod


class World(Protocol):
    """A container that prints, and the source that reads it."""

    def prints(self, text: bytes) -> None: ...
    def ends(self) -> None: ...
    def vanishes(self) -> None:
        """With all that it printed, and without having said that it ended."""
        ...

    def source(self, cursor: Cursor | None = None, secrets: tuple[bytes, ...] = ()) -> Source: ...
    async def close(self) -> None: ...


class CriFiles:
    """The local cluster: files in a pod's directory."""

    def __init__(self, path: Path) -> None:
        self._pod = FakePod(path / "pod")
        self._wakeups = Wakeups()
        self._waking = asyncio.create_task(self._wakeups.run())
        self._sources: list[Source] = []

    def prints(self, text: bytes) -> None:
        self._pod.write(text)

    def ends(self) -> None:
        self._pod.end()

    def vanishes(self) -> None:
        self._pod.remove()

    def source(self, cursor: Cursor | None = None, secrets: tuple[bytes, ...] = ()) -> Source:
        source = CriFileSource(PodDirectory(self._pod.path), "job", Masker(secrets), self._wakeups)
        source.start_at(cursor)
        self._sources.append(source)
        return source

    async def close(self) -> None:
        for source in self._sources:
            await source.close()
        self._waking.cancel()
        self._wakeups.close()


worlds: dict[str, Callable[[Path], World]] = {"cri_files": CriFiles}


@pytest.fixture(params=worlds)
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = worlds[request.param](tmp_path)
    yield made
    await made.close()


async def read_all(source: Source) -> list[Reading]:
    """What is there at once."""
    readings = [await source.read()]
    while readings[-1].more and not readings[-1].end:
        readings.append(await source.read())
    return readings


def text_of(readings: list[Reading]) -> bytes:
    return b"".join(reading.lines.text for reading in readings)


async def test_what_was_printed_is_read_once(world: World) -> None:
    source = world.source()
    world.prints(b"one\ntwo\n")
    assert text_of(await read_all(source)) == b"one\ntwo\n"
    world.prints(b"three\n")
    assert text_of(await read_all(source)) == b"three\n"
    assert text_of(await read_all(source)) == b""


async def test_a_container_that_printed_nothing_yet_has_nothing_to_read(world: World) -> None:
    readings = await read_all(world.source())
    assert text_of(readings) == b""
    assert not readings[-1].end


async def test_every_line_has_its_time(world: World) -> None:
    world.prints(b"one\ntwo\n")
    (reading,) = [reading for reading in await read_all(world.source()) if reading.lines.text]
    assert reading.lines.count == 2
    assert all(reading.lines.at(index) for index in range(2))


async def test_a_source_opened_at_a_cursor_goes_on_behind_its_lines(world: World) -> None:
    world.prints(b"one\ntwo\n")
    cursor = next(reading.cursor for reading in reversed(await read_all(world.source())) if reading.cursor)
    world.prints(b"three\n")
    world.ends()
    readings = await read_all(world.source(cursor))
    assert text_of(readings) == b"three\n"
    assert not any(reading.gap for reading in readings)


async def test_the_end_comes_with_the_evidence_and_after_the_last_line(world: World) -> None:
    source = world.source()
    world.prints(b"one\n")
    assert not (await read_all(source))[-1].end
    assert not source.has_ended()
    world.prints(b"two\nno line feed")
    world.ends()
    assert source.has_ended()
    readings = await read_all(source)
    assert text_of(readings) == b"two\nno line feed"
    assert readings[-1].end
    assert readings[-1].end.gap is None


async def test_a_container_that_printed_nothing_ends_too(world: World) -> None:
    world.ends()
    readings = await read_all(world.source())
    assert text_of(readings) == b""
    assert readings[-1].end
    assert readings[-1].end.gap is None


async def test_a_log_that_is_gone_ends_with_a_gap(world: World) -> None:
    world.prints(b"one\n")
    cursor = next(reading.cursor for reading in reversed(await read_all(world.source())) if reading.cursor)
    world.vanishes()
    end = (await read_all(world.source(cursor)))[-1].end
    assert end
    assert end.gap


async def test_a_place_that_is_not_there_any_more_is_a_gap(world: World) -> None:
    world.prints(b"one\n")
    cursor = next(reading.cursor for reading in reversed(await read_all(world.source())) if reading.cursor)
    world.ends()
    elsewhere = {name: value + 1 if isinstance(value, int) else value for name, value in cursor.items()}
    readings = await read_all(world.source(elsewhere))
    assert [reading.gap for reading in readings if reading.gap]


async def test_a_reader_is_woken_by_a_line_and_by_the_end(world: World) -> None:
    source = world.source()
    await read_all(source)
    for act in (lambda: world.prints(b"one\n"), world.ends):
        waiting = asyncio.create_task(source.changed(60))
        asyncio.get_running_loop().call_soon(act)
        await asyncio.wait_for(waiting, 5)
        await read_all(source)


async def test_secrets_are_masked_and_long_lines_are_cut(world: World) -> None:
    world.prints(b"token s3cr3t-value\n" + b"x" * 200_000 + b"\n")
    world.ends()
    first, second = text_of(await read_all(world.source(secrets=(b"s3cr3t-value",)))).splitlines()
    assert first == b"token ***"
    assert len(second) < 65_536
    assert second.endswith(b" bytes]")


async def test_closing_twice_is_no_fault(world: World) -> None:
    source = world.source()
    world.prints(b"one\n")
    await read_all(source)
    await source.close()
    await source.close()
