"""Lines between source and segment, the limit on a line's length, and the gap marker.

A line includes its line feed. Only the last line of a stream may lack it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from shared.masking import Masker

LONGEST_LINE_BYTES = 65_536
"""Default of the setting `log_line_bytes`, including the line feed."""
MOST_LINE_BYTES = 1 << 20
"""Largest value of the setting. A reader of segments holds such a line in memory."""
_MARK_BYTES = 64
_CUT_LINE = re.compile("…\\[truncated, [0-9]+ bytes\\]\n\\Z".encode())


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive lines to be stored, masked and limited in length."""

    text: bytes
    stamps: Sequence[bytes]
    """One for each line. It begins with the time of writing (RFC 3339), up to a space or the end."""

    @property
    def count(self) -> int:
        return len(self.stamps)

    def at(self, index: int) -> datetime | None:
        """Returns when this line was written, or None if the source gave no time."""
        return instant(self.stamps[index])

    def ended(self) -> "Lines":
        """Returns the same lines with a line feed at the end, so that more may follow."""
        return Lines(self.text + b"\n", self.stamps) if self.text and not self.text.endswith(b"\n") else self


NO_LINES = Lines(b"", ())


def instant(stamp: bytes) -> datetime | None:
    """Returns the time at the beginning of a stamp, truncated to microseconds, or None if there is none."""
    try:
        at = datetime.fromisoformat(stamp[:64].partition(b" ")[0].decode("ascii"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def gap_marker(why: str) -> bytes:
    """Returns the line that marks a place where lines may be missing."""
    return f"[towpath: lines may be missing here: {why}]\n".encode()


def ends_with_cut_line(text: bytes) -> bool:
    """Returns True if the last of these lines was cut by `LongLines`, and has its line feed."""
    return _CUT_LINE.search(text, max(0, len(text) - _MARK_BYTES)) is not None


class LongLines:
    """Cuts lines that exceed the limit.

    A source keeps only the first `kept_bytes` of such a line, so that memory is bounded.
    """

    def __init__(self, masker: Masker, longest_bytes: int = LONGEST_LINE_BYTES) -> None:
        """A line is too long if it has `longest_bytes` or more without its line feed."""
        self._masker = masker
        self.longest_bytes = longest_bytes
        self.kept_bytes = longest_bytes + max(masker.longest - 1, 0)
        """The limit plus the longest form less one byte: a secret that begins before the cut is complete."""

    def cut(self, head: bytes, total_bytes: int) -> bytes:
        """Returns the line without its line feed.

        A line that is too long is masked, cut, and ends with the number of missing bytes. `head` has at most
        its first `kept_bytes`.
        """
        if total_bytes < self.longest_bytes:
            return head
        end = self._masker.end_of_span(head, self.longest_bytes - _MARK_BYTES)
        return self._masker.mask(head[:end]) + f"…[truncated, {total_bytes - end} bytes]".encode()
