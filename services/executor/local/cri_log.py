"""Writes the CRI log format as the kubelet does: lines of `<RFC 3339 time> stdout F|P <bytes>`.

The time is in UTC, with nanoseconds. `F` ends a line; `P` is a part of one: of a line over 16 KiB, or the
bytes at the very end without a line feed. Joining the parts and ending each `F` with a line feed restores the
container's bytes exactly. Output is handled by chunk, not by line, so the lines of a chunk have one time.
"""

import os
import time

LONGEST_PART_BYTES = 16 * 1024
_BLOCK = LONGEST_PART_BYTES // 2


class CriLog:
    """Writes the output of a container to an open file. Not for concurrent use."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._rest = b""  # bytes after the last line feed

    def write(self, data: bytes) -> None:
        whole, feed, rest = data.rpartition(b"\n")
        stamp = _stamp()
        written = b""
        if feed:
            written = _full_lines(self._rest + whole, stamp)
            self._rest = rest
        else:
            self._rest += rest
        if len(self._rest) > LONGEST_PART_BYTES:
            cut = (len(self._rest) - 1) // LONGEST_PART_BYTES * LONGEST_PART_BYTES
            written += _parts(self._rest[:cut], stamp)
            self._rest = self._rest[cut:]
        _write_all(self._descriptor, written)

    def close(self) -> None:
        """Write the rest that has no line feed, and close the file."""
        if self._rest:
            _write_all(self._descriptor, _parts(self._rest, _stamp()))
        os.close(self._descriptor)


def _full_lines(data: bytes, stamp: bytes) -> bytes:
    """Format lines. `data` has no line feed after the last line."""
    prefix = stamp + b" stdout F "
    if not _has_long_line(data):
        return prefix + data.replace(b"\n", b"\n" + prefix) + b"\n"
    return b"".join(_line(line, stamp, prefix) for line in data.split(b"\n"))


def _line(line: bytes, stamp: bytes, prefix: bytes) -> bytes:
    if len(line) <= LONGEST_PART_BYTES:
        return prefix + line + b"\n"
    cut = (len(line) - 1) // LONGEST_PART_BYTES * LONGEST_PART_BYTES
    return _parts(line[:cut], stamp) + prefix + line[cut:] + b"\n"


def _parts(data: bytes, stamp: bytes) -> bytes:
    pieces = [data[at : at + LONGEST_PART_BYTES] for at in range(0, len(data), LONGEST_PART_BYTES)]
    return b"".join(stamp + b" stdout P " + piece + b"\n" for piece in pieces)


def _has_long_line(data: bytes) -> bool:
    """Return False only if no line is too long: a long line covers an aligned block of half the limit."""
    return any(data.find(b"\n", at, at + _BLOCK) < 0 for at in range(0, len(data) - _BLOCK + 1, _BLOCK))


def _stamp() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 1_000_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{nanoseconds:09d}Z".encode()


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
