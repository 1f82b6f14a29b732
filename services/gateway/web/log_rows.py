"""The rows of a log page: lines with their colours and marks, and where each step begins and ends. Pure."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.gateway.logs.log_lines import Chunk, Marked, shown
from services.gateway.web.ansi import Piece, pieces
from shared.step_markers import StepBegin

_COMMAND = re.compile(r"::(group|endgroup|error|warning|notice)(?: [^:]*)?::(.*)", re.DOTALL)
_BAD = re.compile(r"^(?:\S+: )?(?:error|fatal|FAILED|Traceback|E  )\b|\berror:", re.ASCII)
_KINDS = {"error": "bad", "warning": "warn", "group": "group", "notice": ""}


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a log. `kind` is empty, or one of bad, warn, group and gap."""

    number: int
    kind: str
    pieces: Sequence[Piece]


@dataclass(slots=True)
class StepLines:
    """The lines of a step, from its begin marker to its end marker."""

    index: int
    name: str
    first_line: int
    end_line: int | None = None
    """The line of the end marker. None while the step runs, or if its end is missing."""


def rows_of(chunks: Iterable[Chunk], first: int, end: int, nonce: str, gaps: frozenset[int]) -> list[Row]:
    """Return the rows from line `first` on, below line `end`, without step markers."""
    rows: list[Row] = []
    for chunk in chunks:
        for told in shown(chunk, first, nonce):
            if isinstance(told, Marked):
                continue
            for number, line in enumerate(told.lines, told.first_line):
                if first <= number < end:
                    row = row_of(number, line, is_gap=number in gaps)
                    if row is not None:
                        rows.append(row)
    return rows


def row_of(number: int, line: str, *, is_gap: bool = False) -> Row | None:
    """Return the row of a line, or None for the end of a group."""
    if is_gap:
        return Row(number, "gap", pieces(line))
    command = _COMMAND.match(line) if line.startswith("::") else None
    if command is not None:
        if command[1] == "endgroup":
            return None
        return Row(number, _KINDS[command[1]], pieces(command[2]))
    found = pieces(line)
    plain = "".join(text for _, text in found[:4])[:200]
    return Row(number, "bad" if _BAD.search(plain) else "", found)


def add_steps(steps: list[StepLines], chunk: Chunk, nonce: str) -> None:
    """Add the steps that begin in a chunk, and note those that end in it."""
    for told in shown(chunk, chunk.first_line, nonce):
        if not isinstance(told, Marked):
            continue
        if isinstance(told.step, StepBegin):
            steps.append(StepLines(told.step.index, told.step.name, told.line))
        elif steps and steps[-1].index == told.step.index and steps[-1].end_line is None:
            steps[-1].end_line = told.line


def as_json(row: Row) -> list[Any]:
    """Return a row as the log page's script reads it."""
    return [row.number, row.kind, [list(piece) if piece[0] else piece[1] for piece in row.pieces]]
