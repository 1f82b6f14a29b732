r"""Step markers: the lines by which a job's log says where a step begins and ends.

For display only: user code can imitate them, so nothing trusts them.

A marker is `::towpath-<nonce>::begin <index> <name>\n` or `::towpath-<nonce>::end <index> <exit code>
<outcome>\n`; steps count from 1. Outcomes are the step driver's letters, and markers without one are read
too. The nonce of an attempt follows from `attempts.creation_token`, so every reader of the row knows it. A
marker may stand behind the end of a step's output that has no final line feed; cutting markers out gives back
the steps' bytes exactly.
"""

import hashlib
import re
from dataclasses import dataclass

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_NAME_LIMIT = 120
_BEGIN = re.compile(r"begin ([0-9]{1,9}) (.*)", re.DOTALL)
_END = re.compile(r"end ([0-9]{1,9}) ([0-9]{1,9})(?: (.*))?", re.DOTALL)
_FIRST = re.compile(rb"\A::towpath-[0-9a-f]{16}::begin |^::towpath-[0-9a-f]{16}::begin 1 ", re.MULTILINE)
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
    """success, failed, timed_out or cancelled; None where the marker says none that is known."""


def nonce(creation_token: str) -> str:
    """The nonce of the attempt that was created with this token; the token does not follow from it."""
    return hashlib.sha256(b"towpath step marker:" + creation_token.encode()).hexdigest()[:16]


def one_line(name: str) -> str:
    """The name as a marker shows it: no control characters, bounded."""
    return _CONTROL.sub(" ", name).strip()[:_NAME_LIMIT]


def begin(marker_nonce: str, index: int, name: str) -> str:
    """The line, without its line feed, that stands before a step's output."""
    return f"::towpath-{marker_nonce}::begin {index} {one_line(name)}"


def has_first(log: bytes) -> bool:
    """Whether these lines are a log's first: with a step at their very beginning, or the first step among
    them (its shell may have had a warning before).
    """
    return _FIRST.search(log) is not None


def parse(line: bytes, marker_nonce: str) -> StepBegin | StepEnd | None:
    """The marker at the end of this line (with or without its line feed); None when there is none."""
    _, mark, rest = line.rpartition(_mark(marker_nonce))
    if not mark:
        return None
    said = rest.decode("utf-8", "replace").rstrip("\n")
    if begun := _BEGIN.fullmatch(said):
        return StepBegin(int(begun[1]), begun[2])
    if ended := _END.fullmatch(said):
        return StepEnd(int(ended[1]), int(ended[2]), _OUTCOMES.get(ended[3]))
    return None


def strip(data: bytes, marker_nonce: str, *, break_lines: bool = False) -> bytes:
    """Return whole lines without the markers in them: the exact bytes that the steps wrote.

    With `break_lines`, a line that a step left without a line feed gets one, for a text that people read.
    """
    mark = _mark(marker_nonce)
    if mark not in data:
        return data
    marker = re.escape(mark) + rb"(?:begin|end) [0-9]+ [^\n]*(?:\n|\Z)"
    if break_lines:
        data = re.sub(rb"(?<=[^\n])" + marker, b"\n", data)
    return re.sub(marker, b"", data)


def _mark(marker_nonce: str) -> bytes:
    return f"::towpath-{marker_nonce}::".encode()
