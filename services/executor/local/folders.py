"""The folder of all pods: who may serve it, its pods kept apart on disk, and removals in bulk."""

import asyncio
import contextlib
import fcntl
import os
import shutil
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.executor.local.pod_files import STAGED

_DEBRIS_SECONDS = 600.0
_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # linux/fs.h FS_IOC_*, as most architectures number them; elsewhere they are refused
_UNRELATED = 0x20000  # FS_TOPDIR_FL


class FolderTaken(Exception):
    """Executors in another pid namespace serve this folder."""


@contextmanager
def one_pid_namespace(folder: Path) -> Iterator[None]:
    """Holds the folder for executors of this pid namespace. Raises FolderTaken.

    To an executor in another one, such as a second container, every supervisor of ours would look dead.
    """
    ours = str(Path("/proc/self/ns/pid").readlink())
    descriptor = os.open(folder / "executors.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with contextlib.suppress(BlockingIOError):  # there are others: the file says where
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
    """Deletes trees in one thread: those that come meanwhile go together in the next turn."""

    def __init__(self) -> None:
        self._waiting: list[Path] = []
        self._turn = asyncio.Lock()

    async def remove(self, trees: Sequence[Path]) -> None:
        """They are gone when this returns. One that is not there is gone already."""
        self._waiting += trees
        async with self._turn:
            together, self._waiting = self._waiting, []
            if together:
                await asyncio.to_thread(remove_trees, together)


def keep_apart(pods: Path) -> None:
    """Asks ext4 to spread the folders in this one over the disk: pods have nothing to do with each other.

    Side by side they would soon be made where many files were deleted within the last minute: without a journal ext4 looks at every one of those and passes
    over it, for each file that it makes. Other file systems refuse, and need it not.
    """
    descriptor = os.open(pods, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            flags = struct.unpack("l", fcntl.ioctl(descriptor, _GET_FLAGS, bytes(struct.calcsize("l"))))[0]
            fcntl.ioctl(descriptor, _SET_FLAGS, struct.pack("l", flags | _UNRELATED))
    finally:
        os.close(descriptor)


def remove_debris(pods: Path) -> None:
    """What crashes left half made or half removed; neither takes long."""
    old = time.time() - _DEBRIS_SECONDS
    remove_trees([path for path in pods.glob(f"{STAGED}*") if path.stat().st_mtime < old])


def remove_trees(folders: Sequence[Path]) -> None:
    """Also where user code made folders that their owner can't enter. Links are not followed."""

    def open_up(_: object, path: str, __: object) -> None:
        with contextlib.suppress(OSError):
            Path(path).parent.chmod(0o700)
            if Path(path).is_dir() and not Path(path).is_symlink():
                Path(path).chmod(0o700)
                shutil.rmtree(path)
            else:
                Path(path).unlink()

    for folder in folders:
        shutil.rmtree(folder, onerror=open_up)
