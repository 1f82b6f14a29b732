"""Files of one container's log as the kubelet rotates them: `job.log`, and older ones as `job.log.<time>`.

Older files may be compressed to `.gz`. A cursor names a position by inode, offset and a checksum of the bytes
before it. A file is therefore recognised after it was renamed or compressed, and a position that no longer
exists is never mistaken for another one. A checksum of the file's beginning distinguishes a file that lost
its end in a crash of the machine from a file that was written anew.
"""

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from services.logsink.sources import Cursor

TAIL_BYTES = 4096
HEAD_BYTES = 256
"""Number of bytes at the beginning of a file that identify it.

They contain some records with their times, so no two files begin with the same bytes.
"""


class LogFile:
    """An open file, read forward. It keeps its beginning, and the last 4 KiB before its offset."""

    def __init__(self, path: Path) -> None:
        """Opens the file. Raises FileNotFoundError."""
        plain = path.open("rb", buffering=0)
        self.inode = os.fstat(plain.fileno()).st_ino
        self._descriptor = plain.fileno()
        self._is_compressed = path.suffix == ".gz"
        self._plain = plain
        self._file: BinaryIO = (
            cast("BinaryIO", gzip.GzipFile(fileobj=plain)) if self._is_compressed else plain
        )
        self._head = self._tail = b""
        self.offset = 0

    def read(self, limit: int) -> bytes:
        """Returns bytes after the offset, which stays the same until `advance`."""
        return self._file.read(limit)

    def advance(self, data: bytes, unfinished: int) -> Cursor | None:
        """Moves the offset behind `data`, which was read there.

        Returns the cursor of the position `unfinished` bytes before the new offset, or None if it is not
        within `data`.
        """
        recent = self._tail + data
        self.offset += len(data)
        self._head += data[: HEAD_BYTES - len(self._head)]
        self._tail = recent[-TAIL_BYTES:]
        end = len(recent) - unfinished
        return (
            self._cursor(unfinished, recent[max(0, end - TAIL_BYTES) : end])
            if unfinished < len(data)
            else None
        )

    def here(self) -> Cursor:
        return self._cursor(0, self._tail)

    def move_to(self, cursor: Cursor) -> bool:
        """Moves the offset to the cursor's position; returns True if that position is in this file."""
        self._go_to(cursor["offset"])
        return (self.offset, zlib.crc32(self._tail)) == (cursor["offset"], cursor["crc"])

    def move_to_what_is_left(self, cursor: Cursor) -> bool:
        """Returns True if this is the cursor's file but the bytes before the cursor's position are lost.

        The offset is then at that position, or at the end of a file that is shorter.
        """
        if self._is_compressed or self.inode != cursor["inode"] or not cursor.get("head_bytes"):
            return False
        self._go_to(min(cursor["offset"], os.fstat(self._descriptor).st_size))
        return bool(self._head_crc(cursor["head_bytes"]) == cursor["head_crc"])

    def _go_to(self, offset: int) -> None:
        """Moves to the offset, or to the end of a file that is shorter."""
        self._file.seek(0)
        self._head = self._file.read(min(HEAD_BYTES, offset))
        start = max(0, offset - TAIL_BYTES)
        self._file.seek(start)
        self._tail = self._file.read(offset - start)
        self.offset = start + len(self._tail)

    def was_cut(self) -> bool:
        """Returns True if the file is shorter than what was read from it.

        The offset is then at its beginning.
        """
        if self._is_compressed or self.waiting_bytes() >= 0:
            return False
        self._go_to(0)
        return True

    def waiting_bytes(self) -> int:
        """Returns the number of bytes after the offset. For a compressed file this is its size on disk."""
        return os.fstat(self._descriptor).st_size - (0 if self._is_compressed else self.offset)

    def close(self) -> None:
        self._file.close()
        self._plain.close()

    def _cursor(self, back: int, tail: bytes) -> Cursor:
        offset = self.offset - back
        head_bytes = min(HEAD_BYTES, offset)
        return {
            "inode": self.inode,
            "offset": offset,
            "crc": zlib.crc32(tail),
            "head_bytes": head_bytes,
            "head_crc": self._head_crc(head_bytes),
        }

    def _head_crc(self, count: int) -> int:
        return zlib.crc32(self._head[:count])


class LogFiles:
    """All files of a log, found by the path of the current one."""

    def __init__(self, current: Path) -> None:
        self._current = current

    def first(self) -> LogFile | None:
        """Returns the oldest file that is left."""
        return next((file for path in self._paths() if (file := _opened(path))), None)

    def find(self, cursor: Cursor) -> LogFile | None:
        """Returns the file with the cursor's position, opened there.

        The file with the cursor's inode is tried first.
        """
        paths = self._paths()
        paths.sort(key=lambda path: _inode(path) != cursor["inode"])
        return _first_of(paths, lambda file: file.move_to(cursor))

    def find_what_is_left(self, cursor: Cursor) -> LogFile | None:
        """Returns the file that had the cursor's position, if the position itself is lost.

        It is opened where reading continues.
        """
        return _first_of(self._paths(), lambda file: file.move_to_what_is_left(cursor))

    def current(self) -> Path:
        """Returns the path of the file that gets new lines."""
        return self._current

    def is_current(self, file: LogFile) -> bool:
        """Returns True if the file that gets new lines is this one, by its path."""
        return _inode(self.current()) == file.inode

    def after(self, file: LogFile, *, log_ended: bool) -> tuple[LogFile | None, bool]:
        """Returns the file after one that was read to its end, and whether files between them may be missing.

        A file that was rotated away may still get lines until the first line is in its successor.
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
        if following and paths[place + 1] == self.current() and not (log_ended or following.waiting_bytes()):
            following.close()
            following = None
        return following, False

    def _place_of_compressed(self, paths: list[Path], file: LogFile) -> int | None:
        """Returns the index of the file if it was compressed since it was opened."""
        for index, path in enumerate(paths):
            if path.suffix == ".gz" and (candidate := _opened(path)):
                is_it = candidate.move_to(file.here())
                candidate.close()
                if is_it:
                    return index
        return None

    def _paths(self) -> list[Path]:
        """Returns the files, oldest first.

        While the kubelet compresses a file, both forms exist for a moment. The plain one is used.
        """
        return _rotations(self._current, _names(self._current.parent))


class RestartedLogFiles(LogFiles):
    """All files in a container's directory under `/var/log/pods`.

    It has `0.log` with the files rotated from it, `1.log` if the container was started again, and so on.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory / "0.log")
        self._directory = directory

    def current(self) -> Path:
        starts = self._starts(_names(self._directory))
        return self._directory / f"{starts[-1]}.log" if starts else self._current

    def _paths(self) -> list[Path]:
        names = _names(self._directory)
        return [
            path
            for start in self._starts(names)
            for path in _rotations(self._directory / f"{start}.log", names)
        ]

    def _starts(self, names: set[str]) -> list[int]:
        return sorted(
            {
                int(start)
                for start, log, _ in (name.partition(".log") for name in names)
                if log and start.isdecimal()
            }
        )


def _names(directory: Path) -> set[str]:
    try:
        return {path.name for path in directory.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _rotations(current: Path, names: set[str]) -> list[Path]:
    """Returns the files rotated from this one, oldest first, and the file itself, if `names` has them."""
    rotated = {name for name in names if name.startswith(current.name + ".") and not name.endswith(".tmp")}
    ordered = sorted(name for name in rotated if name.removesuffix(".gz") not in rotated - {name})
    return [current.with_name(name) for name in ordered] + ([current] if current.name in names else [])


def _first_of(paths: list[Path], is_it: Callable[[LogFile], bool]) -> LogFile | None:
    """Returns the first of these files for which `is_it` is true, open."""
    for path in paths:
        file = _opened(path)
        if file is not None:
            if is_it(file):
                return file
            file.close()
    return None


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
