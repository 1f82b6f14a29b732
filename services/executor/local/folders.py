"""The folder of all pods: reserves it for one pid namespace, spreads pods on the disk, and removes trees."""

import asyncio
import contextlib
import fcntl
import math
import os
import struct
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import structlog

from services.executor.local.pod_files import STAGED
from services.executor.trees import remove_part

_log = structlog.get_logger()
_DEBRIS_SECONDS = 600.0
_PART_ENTRIES = 2000
"""Entries that are removed from a tree before it is the next tree's turn; takes about 20 ms."""
_TREES_AT_ONCE = 64
_WAIT_SECONDS = 5.0
"""Time that a caller waits for a removal. A million files take longer; their removal continues without it."""
# linux/fs.h FS_IOC_*, as most architectures number them; other architectures refuse these numbers
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_UNRELATED = 0x20000  # FS_TOPDIR_FL


class FolderTaken(Exception):
    """Executors in another pid namespace serve this folder."""


@contextmanager
def one_pid_namespace(folder: Path) -> Iterator[None]:
    """Hold the folder for executors of this pid namespace. Raises FolderTaken.

    To an executor in another pid namespace, such as a second container, every supervisor of ours would seem
    dead.
    """
    ours = str(Path("/proc/self/ns/pid").readlink())
    descriptor = os.open(folder / "executors.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(BlockingIOError):  # other executors hold it; the file names their namespace
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, ours.encode(), 0)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        if os.pread(descriptor, len(ours) + 1, 0) != ours.encode():
            why = "neither would see that the other's jobs run"
            raise FolderTaken(f"an executor in another container or pid namespace serves {folder}: {why}")
        yield
    finally:
        os.close(descriptor)


class Removals:
    """Removes trees in one thread at a time. Trees take turns, so that a huge one does not delay the others.

    Use it as `async with`. Trees that are left at the end of the block stay on disk.
    """

    def __init__(self) -> None:
        self._trees: deque[tuple[Path, asyncio.Future[None]]] = deque()
        self._wanted = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._worker = asyncio.create_task(self._run(), name="removals")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._worker is not None  # noqa: S101 - set in __aenter__
        self._worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._worker
        for _, removal in self._trees:
            removal.cancel()

    async def remove(self, trees: Sequence[Path]) -> None:
        """Remove trees. Returns when they are gone, or after some seconds, while the removal continues.

        A tree that can't be removed is logged; the caller gets no exception.
        """
        removals = [asyncio.get_running_loop().create_future() for _ in trees]
        self._trees.extend(zip(trees, removals, strict=True))
        self._wanted.set()
        if removals:
            await asyncio.wait(removals, timeout=_WAIT_SECONDS)

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            while self._trees:
                count = min(len(self._trees), _TREES_AT_ONCE)
                await self._turn([self._trees.popleft() for _ in range(count)])

    async def _turn(self, together: list[tuple[Path, "asyncio.Future[None]"]]) -> None:
        """Remove a part of each of these trees. Unfinished trees go to the end of the queue."""
        trees = [tree for tree, _ in together]
        parts = asyncio.get_running_loop().run_in_executor(None, _remove_parts, trees)
        try:
            done = await asyncio.shield(parts)
        except asyncio.CancelledError:
            await parts  # the thread ends soon, and nothing is removed after the block
            self._trees.extendleft(together)
            raise
        for (tree, removal), is_done in zip(together, done, strict=True):
            if not is_done:
                self._trees.append((tree, removal))
            elif not removal.done():
                removal.set_result(None)


def _remove_parts(trees: Sequence[Path]) -> list[bool]:
    """Remove a part of each tree. Returns for each of them whether it is finished."""
    return [_remove_part(tree) for tree in trees]


def _remove_part(tree: Path) -> bool:
    try:
        return remove_part(tree, _PART_ENTRIES)
    except OSError as error:
        _log.warning("tree_not_removed", tree=str(tree), why=str(error), consequence="it stays on disk")
        return True


def keep_apart(pods: Path) -> None:
    """Ask ext4 to spread the folders of pods over the disk, because pods are unrelated to each other.

    Otherwise pods are soon created where many files were deleted within the last minute. Without a journal,
    ext4 then checks and skips each of those for every file that it creates. Other file systems refuse the
    flag, which is safe to ignore.
    """
    descriptor = os.open(pods, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l"))))[0]
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _UNRELATED))
    finally:
        os.close(descriptor)


def debris(pods: Path) -> list[Path]:
    """Return the folders that a crash left half made or half removed, at least some minutes ago."""
    old = time.time() - _DEBRIS_SECONDS
    return [path for path in pods.glob(f"{STAGED}*") if _changed_at(path) < old]


def _changed_at(path: Path) -> float:
    """Return when the folder changed; infinity if another executor has removed it meanwhile."""
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:
        return math.inf
