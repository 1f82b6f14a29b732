"""Tests of `Wakeups`: events are set for changes in their own directories only."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.logsink.wakeups import Wakeups


@pytest.fixture
async def wakeups() -> AsyncIterator[Wakeups]:
    made = Wakeups()
    running = asyncio.create_task(made.run())
    yield made
    running.cancel()
    made.close()


async def rings(changed: asyncio.Event) -> None:
    await asyncio.wait_for(changed.wait(), 5)
    changed.clear()


async def test_a_bell_rings_for_a_new_file_a_write_and_a_rename(wakeups: Wakeups, tmp_path: Path) -> None:
    changed = asyncio.Event()
    assert wakeups.watch(tmp_path, changed)
    path = tmp_path / "a"
    path.touch()
    await rings(changed)
    path.write_bytes(b"x")
    await rings(changed)
    path.rename(tmp_path / "b")
    await rings(changed)


async def test_bells_share_a_directory(wakeups: Wakeups, tmp_path: Path) -> None:
    first, second, other = asyncio.Event(), asyncio.Event(), asyncio.Event()
    (tmp_path / "other").mkdir()
    for directory, changed in ((tmp_path, first), (tmp_path, second), (tmp_path / "other", other)):
        assert wakeups.watch(directory, changed)
    (tmp_path / "a").touch()
    await rings(first)
    await rings(second)
    assert not other.is_set()
    wakeups.forget(first)
    (tmp_path / "b").touch()
    await rings(second)
    assert not first.is_set()


async def test_a_forgotten_directory_can_be_watched_again(wakeups: Wakeups, tmp_path: Path) -> None:
    changed = asyncio.Event()
    for name in ("a", "b"):
        assert wakeups.watch(tmp_path, changed)
        (tmp_path / name).touch()
        await rings(changed)
        wakeups.forget(changed)


async def test_a_directory_that_is_not_there_is_not_watched(wakeups: Wakeups, tmp_path: Path) -> None:
    assert not wakeups.watch(tmp_path / "none", asyncio.Event())


async def test_a_bell_rings_when_its_directory_goes(wakeups: Wakeups, tmp_path: Path) -> None:
    changed = asyncio.Event()
    gone = tmp_path / "gone"
    gone.mkdir()
    assert wakeups.watch(gone, changed)
    gone.rmdir()
    await rings(changed)
    wakeups.forget(changed)
