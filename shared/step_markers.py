r"""Step markers: the lines in a job's log that show where a step begins and ends.

They are for display only. User code can imitate them, so no decision depends on them. The forms are:

    ::towpath-<nonce>::begin <index> <name>\n
    ::towpath-<nonce>::end <index> <exit code> <outcome>\n

Steps count from 1. Outcomes are the letters of the step driver; markers without an outcome are read too. The
nonce is derived from `attempts.creation_token`, so every reader of the row knows it. If a step's output has
no final line feed, the marker follows in the same line. Removing all markers restores the exact bytes of the
steps.

The step driver prints the end marker of a step before it notes the step's end in its termination file. A log
without a marker that must be there has lost its end. The log sink states that with a gap marker.
"""

import hashlib
import re
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NAME_LIMIT = 120
_BEGIN = re.compile(r"begin ([0-9]{1,9}) (.*)", re.DOTALL)
_END = re.compile(r"end ([0-9]{1,9}) ([0-9]{1,9})(?: (.*))?", re.DOTALL)
_FIRST = re.compile(rb"\A::towpath-[0-9a-f]{16}::begin |^::towpath-[0-9a-f]{16}::begin 1 ", re.MULTILINE)
RECORD = re.compile(r"([1-9][0-9]{0,3}) (?:([0-9]{1,9}|-) ([sftx])([0-9]{1,3}))?", re.ASCII)
"""A line of the termination file about one step; see `services.executor.step_driver`."""
_OUTCOMES: dict[str | None, str] = {"s": "success", "f": "failed", "t": "timed_out", "x": "cancelled"}


@dataclass(frozen=True, slots=True)
class StepBegin:
    index: int
    name: str


@dataclass(frozen=True, slots=True)
class StepEnd:
    index: int
    exit_code: int
    outcome: str | None = None
    """success, failed, timed_out or cancelled. None if the marker has no known outcome."""


def nonce(creation_token: str) -> str:
    """Return the nonce of the attempt with this token. The token cannot be derived from the nonce."""
    return hashlib.sha256(b"towpath step marker:" + creation_token.encode()).hexdigest()[:16]


def one_line(name: str) -> str:
    """Return the name as a marker shows it: without control characters, and at most 120 characters long."""
    return _CONTROL.sub(" ", name).strip()[:_NAME_LIMIT]


def begin(marker_nonce: str, index: int, name: str) -> str:
    """Return the line, without its line feed, that precedes a step's output."""
    return f"::towpath-{marker_nonce}::begin {index} {one_line(name)}"


def mark(marker_nonce: str) -> bytes:
    """Return the bytes with which every marker of this attempt begins."""
    return f"::towpath-{marker_nonce}::".encode()


def last_ended(termination: str) -> int | None:
    """Return the index of the last step whose end is in the driver's termination file; None if there is none.

    User code can change the file, so the result may be wrong. It must be used for display only.
    """
    for line in reversed(termination.split("\n")):
        record = RECORD.fullmatch(line)
        if record is not None and record[3] is not None:
            return int(record[1])
    return None


def has_first(log: bytes) -> bool:
    """Return True if these lines are the beginning of a log.

    They begin with a step marker, or contain the marker of the first step. The shell may print a warning
    before it.
    """
    return _FIRST.search(log) is not None


def parse(line: bytes, marker_nonce: str) -> StepBegin | StepEnd | None:
    """Return the marker at the end of this line, with or without line feed, or None if there is none."""
    _, found, rest = line.rpartition(mark(marker_nonce))
    if not found:
        return None
    said = rest.decode("utf-8", "replace").rstrip("\n")
    if begun := _BEGIN.fullmatch(said):
        return StepBegin(int(begun[1]), begun[2])
    if ended := _END.fullmatch(said):
        return StepEnd(int(ended[1]), int(ended[2]), _OUTCOMES.get(ended[3]))
    return None


def strip(data: bytes, marker_nonce: str, *, break_lines: bool = False) -> bytes:
    """Return whole lines without their markers: the exact bytes that the steps wrote.

    With `break_lines`, a step's last line gets the line feed that it lacks, for text that people read.
    """
    beginning = mark(marker_nonce)
    if beginning not in data:
        return data
    marker = re.escape(beginning) + rb"(?:begin|end) [0-9]+ [^\n]*(?:\n|\Z)"
    if break_lines:
        data = re.sub(rb"(?<=[^\n])" + marker, b"\n", data)
    return re.sub(marker, b"", data)
