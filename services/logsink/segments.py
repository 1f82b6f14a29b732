"""Segments: consecutive lines of a stream, compressed for storage.

A `Writer` keeps the position of its stream and hashes all lines. A segment has whole lines: at most 64 KiB,
or one longer line.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime

import zstandard

from services.logsink.lines import MOST_LINE_BYTES, Lines, gap_marker

SEGMENT_BYTES = 64 << 10
_COMPRESSION_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """A row of `log_segments`, without its stream."""

    seq: int
    first_line: int
    line_count: int
    first_at: datetime
    last_at: datetime
    raw_bytes: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """A line of the stream that is a gap marker."""

    line: int
    reason: str

    def as_json(self) -> dict[str, object]:
        return {"line": self.line, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Position:
    """The place in a stream at which its next segment begins."""

    next_seq: int = 0
    next_line: int = 1
    stored_bytes: int = 0
    gaps: tuple[Gap, ...] = ()


class Writer:
    """Cuts a stream's lines into segments. Not for concurrent use, but it may run in any thread."""

    def __init__(self, position: Position, at: datetime) -> None:
        """`at` is used as the time of lines that have none."""
        self.position = position
        self._last_at = at
        self._sha256 = hashlib.sha256()

    def resume(self, stored: Iterable[tuple[bytes, int]], seen: Callable[[bytes], None]) -> None:
        """Hashes the segments that earlier owners stored, given as (data, raw_bytes).

        Calls `seen` with the lines of each.

        Call it for all segments of the stream in order, in any number of calls, before `add`.
        """
        for data, raw_bytes in stored:
            raw = unpack(data, raw_bytes)
            self._sha256.update(raw)
            seen(raw)

    def add(self, lines: Lines) -> list[Segment]:
        """Returns the segments that contain these lines."""
        segments = []
        index = 0
        compressor = zstandard.ZstdCompressor(level=_COMPRESSION_LEVEL)
        self._sha256.update(lines.text)
        for start, end in _pieces(lines.text):
            raw = lines.text[start:end]
            count = raw.count(b"\n") + (not raw.endswith(b"\n"))
            first_at = lines.at(index) or self._last_at
            self._last_at = lines.at(index + count - 1) or first_at
            here = self.position
            segments.append(
                Segment(
                    here.next_seq,
                    here.next_line,
                    count,
                    first_at,
                    self._last_at,
                    len(raw),
                    compressor.compress(raw),
                )
            )
            self.position = Position(
                here.next_seq + 1, here.next_line + count, here.stored_bytes + len(raw), here.gaps
            )
            index += count
        return segments

    def add_gap(self, reason: str, at: datetime) -> list[Segment]:
        """Adds a gap marker to the stream and to its list of gaps; returns the marker's segment.

        The line before it must end with a line feed.
        """
        gap = Gap(self.position.next_line, reason)
        self.position = replace(self.position, gaps=(*self.position.gaps, gap))
        return self.add(Lines(gap_marker(reason), [at.isoformat().encode()]))

    def sha256(self) -> bytes:
        """Returns the hash of all bytes of the stream so far."""
        return self._sha256.digest()


def unpack(data: bytes, raw_bytes: int) -> bytes:
    """Returns the lines of a stored segment."""
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=raw_bytes)


def _pieces(text: bytes) -> Iterator[tuple[int, int]]:
    """Yields (start, end) of whole lines that together fit into a segment, or of one longer line."""
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > SEGMENT_BYTES:
            end = text.rfind(b"\n", start, start + SEGMENT_BYTES) + 1
            end = end or text.find(b"\n", start) + 1 or len(text)
            if end - start > MOST_LINE_BYTES:
                raise ValueError("a line is longer than any line may be")
        yield start, end
        start = end
