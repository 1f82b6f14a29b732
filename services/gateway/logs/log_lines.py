"""Positions in the logs of a run, and the conversion of stored segments to lines and steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import zstandard

from shared import step_markers
from shared.step_markers import StepBegin, StepEnd

LONGEST_POSITIONS = 20_000
MOST_STREAMS = 1000

Positions = Mapping[int, int]
"""The number of the next line to show, by stream id."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The log of one container of one attempt."""

    id: int
    job: str
    attempt: int
    container: str
    nonce: str
    """The nonce of the stream's step markers."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive lines of a stream, without their line feeds."""

    first_line: int
    lines: tuple[bytes, ...]

    @property
    def next_line(self) -> int:
        return self.first_line + len(self.lines)

    @property
    def size_bytes(self) -> int:
        return sum(map(len, self.lines)) + 60 * len(self.lines)


@dataclass(frozen=True, slots=True)
class Said:
    """Lines of output, numbered from `first_line`. `next_line` is the position after them."""

    first_line: int
    lines: tuple[str, ...]
    next_line: int


@dataclass(frozen=True, slots=True)
class Marked:
    """The beginning or end of a step."""

    line: int
    step: StepBegin | StepEnd

    @property
    def next_line(self) -> int:
        return self.line + 1


def positions_text(positions: Positions) -> str:
    """Return the positions as the id of an event: `12:345,13:1`."""
    return ",".join(f"{stream}:{line}" for stream, line in sorted(positions.items()))


def read_positions(text: str) -> dict[int, int] | None:
    """Parse the text of `positions_text`. Return None for any other text."""
    positions: dict[int, int] = {}
    if len(text) > LONGEST_POSITIONS or not text.isascii():
        return None
    for part in text.split(",") if text else []:
        stream, colon, line = part.partition(":")
        if not (colon and stream.isdigit() and line.isdigit() and len(stream) < 19 and len(line) < 19):
            return None
        positions[int(stream)] = int(line)
    return positions if len(positions) <= MOST_STREAMS else None


def unpacked(data: bytes, raw_bytes: int) -> bytes:
    """Decompress a stored segment."""
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=max(raw_bytes, 1))


def chunk_of(first_line: int, raw: bytes) -> Chunk:
    """Split a segment into lines."""
    lines = raw.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    return Chunk(first_line, tuple(lines))


def shown(chunk: Chunk, from_line: int, nonce: str) -> list[Said | Marked]:
    """Return the content of a chunk from a line on: groups of lines, and the step markers between them.

    User code can imitate a marker, so the result must be used for display only.
    """
    told: list[Said | Marked] = []
    lines: list[str] = []
    first = max(chunk.first_line, from_line)
    number = first
    mark = f"::towpath-{nonce}::".encode()
    for line in chunk.lines[first - chunk.first_line :]:
        number += 1
        step = step_markers.parse(line, nonce) if mark in line else None
        said = line if step is None else line.rpartition(mark)[0]
        if step is None or said:
            lines.append(said.decode("utf-8", "replace"))
        if step is not None:
            if lines:
                told.append(Said(first, tuple(lines), number - 1))
            told.append(Marked(number - 1, step))
            lines, first = [], number
    if lines:
        told.append(Said(first, tuple(lines), number))
    return told
