"""A small disk that the tests can fill to the last byte.

It is a file with a file system, mounted at the directory of a server. Only root can mount it. It is removed
when the block ends.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE_BYTES = 8 * 2**30
"""The size of the sparse file. It uses only as much room as was written to it."""
_CHUNK_BYTES = 2**16


class Disk:
    """A mounted disk. Use `open_disk`."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        """Use up all room. Afterwards no file on the disk can grow."""
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY)
        try:
            room = os.fstatvfs(descriptor)
            with suppress(OSError):  # the file system needs part of the room for its own tables
                os.posix_fallocate(descriptor, 0, room.f_bavail * room.f_frsize)
            os.lseek(descriptor, 0, os.SEEK_END)
            while True:
                os.write(descriptor, bytes(_CHUNK_BYTES))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
        finally:
            os.close(descriptor)

    def empty(self) -> None:
        """Free the room again. Safe to repeat."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def open_disk(directory: Path) -> Iterator[Disk]:
    """Create the directory and mount a disk at it.

    Raises OSError or CalledProcessError if this machine does not allow it.
    """
    image = directory.with_suffix(".image")
    directory.mkdir(parents=True)
    image.touch(mode=0o600)
    os.truncate(image, SIZE_BYTES)
    for argv in (
        ["mkfs.ext4", "-q", "-m", "0", str(image)],
        ["mount", "-o", "loop", str(image), str(directory)],
    ):
        subprocess.run(argv, check=True, capture_output=True, timeout=60)
    try:
        yield Disk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=False, capture_output=True, timeout=60)
        image.unlink()
