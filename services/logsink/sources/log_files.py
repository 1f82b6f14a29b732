"""The files of one container's log as the kubelet rotates them: `job.log`, and older ones as `job.log.<time>`, perhaps compressed to `.gz`.

A cursor names a place in them by inode, offset and a checksum of what stands before it, so that a file is recognised however it was renamed or
compressed, and a place that is not there any more is never taken for another.
"""

import gzip
import os
import zlib
from operator import attrgetter
from pathlib import Path
from typing import BinaryIO, cast

from services.logsink.sources import Cursor

TAIL_BYTES = 4096


class LogFile:
    """An open file, read forward. It keeps the last 4 KiB before its offset."""

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError."""
        plain = path.open("rb", buffering=0)
        self.inode = os.fstat(plain.fileno()).st_ino
        self._descriptor = plain.fileno()
        self._is_compressed = path.suffix == ".gz"
        self._plain = plain
        self._file: BinaryIO = cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if self._is_compressed else plain
        self._tail = b""
        self.offset = 0

    def read(self, limit: int) -> bytes:
        """Bytes behind the offset, which stays until `advance`."""
        return self._file.read(limit)

    def advance(self, data: bytes, unfinished: int) -> Cursor | None:
        """Moves the offset behind `data`, what was read there. The cursor of the place `unfinished` bytes before it; None when that is not within `data`."""
        recent = self._tail + data
        self.offset += len(data)
        self._tail = recent[-TAIL_BYTES:]
        end = len(recent) - unfinished
        return self._cursor(unfinished, recent[max(0, end - TAIL_BYTES) : end]) if unfinished < len(data) else None

    def here(self) -> Cursor:
        return self._cursor(0, self._tail)

    def move_to(self, cursor: Cursor) -> bool:
        """Whether the cursor's place is in this file; then the offset is there."""
        start = max(0, cursor["offset"] - TAIL_BYTES)
        self._file.seek(start)
        tail = self._file.read(cursor["offset"] - start)
        if len(tail) != cursor["offset"] - start or zlib.crc32(tail) != cursor["crc"]:
            return False
        self._tail, self.offset = tail, cursor["offset"]
        return True

    def was_cut(self) -> bool:
        """Whether the file is shorter than what was read of it; then it is read again from its beginning."""
        if self._is_compressed or self.waiting_bytes() >= 0:
            return False
        self._file.seek(0)
        self._tail, self.offset = b"", 0
        return True

    def waiting_bytes(self) -> int:
        """How much stands behind the offset; of a compressed file, at least so much."""
        return os.fstat(self._descriptor).st_size - (0 if self._is_compressed else self.offset)

    def close(self) -> None:
        self._file.close()
        self._plain.close()

    def _cursor(self, back: int, tail: bytes) -> Cursor:
        return {"inode": self.inode, "offset": self.offset - back, "crc": zlib.crc32(tail)}


class LogFiles:
    """All files of a log, by the path of the current one."""

    def __init__(self, current: Path) -> None:
        self._current = current

    def first(self) -> LogFile | None:
        """The oldest that is left."""
        return next((file for path in self._paths() if (file := _opened(path))), None)

    def find(self, cursor: Cursor) -> LogFile | None:
        """The file with the cursor's place, opened there; the one with its inode is tried first."""
        paths = self._paths()
        paths.sort(key=lambda path: _inode(path) != cursor["inode"])
        for path in paths:
            file = _opened(path)
            if file is None:
                continue
            if file.move_to(cursor):
                return file
            file.close()
        return None

    def is_current(self, file: LogFile) -> bool:
        """Whether this is the file that gets the lines, as far as its name tells."""
        return _inode(self._current) == file.inode

    def after(self, file: LogFile, *, log_ended: bool) -> tuple[LogFile | None, bool]:
        """(what follows a file that was read to its end, whether files between the two may be missing).

        A file that was rotated away may still get lines until the first one is in its successor.
        """
        if self.is_current(file):
            return None, False
        paths = self._paths()
        place = next((index for index, path in enumerate(paths) if _inode(path) == file.inode), None)
        if place is None:
            place = self._place_of_compressed(paths, file)
        if place is None:
            return self.first(), True
        following = _opened(paths[place + 1]) if place + 1 < len(paths) else None
        if following and paths[place + 1] == self._current and not (log_ended or following.waiting_bytes()):
            following.close()
            following = None
        return following, False

    def _place_of_compressed(self, paths: list[Path], file: LogFile) -> int | None:
        """Where the file is that was compressed since it was opened."""
        for index, path in enumerate(paths):
            if path.suffix == ".gz" and (candidate := _opened(path)):
                is_it = candidate.move_to(file.here())
                candidate.close()
                if is_it:
                    return index
        return None

    def _paths(self) -> list[Path]:
        """Oldest first. While the kubelet compresses a file, both forms are there for a moment: the plain one counts."""
        prefix = self._current.name + "."
        try:
            names = {name for name in map(attrgetter("name"), self._current.parent.iterdir()) if name.startswith(prefix) and not name.endswith(".tmp")}
        except (FileNotFoundError, NotADirectoryError):
            return []
        rotated = sorted(name for name in names if name.removesuffix(".gz") not in names - {name})
        current = [self._current] if self._current.exists() else []
        return [self._current.with_name(name) for name in rotated] + current


def _opened(path: Path) -> LogFile | None:
    try:
        return LogFile(path)
    except FileNotFoundError:
        return None


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None
