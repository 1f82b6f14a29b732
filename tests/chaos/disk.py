"""A small disk of a server's own, whose last byte can be taken: a file with a file system in it, mounted
where the server keeps everything.

Only root may mount. What was mounted is gone after the block.
"""

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SIZE_BYTES = 8 * 2**30
"""The file has holes: it takes as much room as was written."""
_CHUNK_BYTES = 2**16


class Disk:
    """Use `open_disk`."""

    def __init__(self, directory: Path) -> None:
        self._ballast = directory / "ballast"

    def fill(self) -> None:
        """Afterwards no file on it can grow."""
        descriptor = os.open(self._ballast, os.O_CREAT | os.O_WRONLY)
        try:
            room = os.fstatvfs(descriptor)
            with suppress(OSError):  # part of it goes into the file system's own tables
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
        """Safe to repeat."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def open_disk(directory: Path) -> Iterator[Disk]:
    """Mounted at the directory, which is made.

    Raises OSError or CalledProcessError where this machine does not allow it.
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
