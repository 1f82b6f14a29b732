"""Lines on their way from a source to a segment, the cap on a line's length, and the marker of a gap.

Pure. A line is its bytes up to and with the line feed; only the very last line of a stream may lack it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from services.logsink.masking import Masker

LONGEST_LINE_BYTES = 65_536
"""With its line feed: the default of the setting `log_line_bytes`."""
MOST_LINE_BYTES = 1 << 20
"""The largest value of the setting. A reader of segments holds such a line in memory."""
_MARK_BYTES = 64


@dataclass(frozen=True, slots=True)
class Lines:
    """Consecutive lines, masked and capped: what is to be stored."""

    text: bytes
    stamps: Sequence[bytes]
    """One for each line: begins with when it was written (RFC 3339), up to a space or the end."""

    @property
    def count(self) -> int:
        return len(self.stamps)

    def at(self, index: int) -> datetime | None:
        """When this line was written; None where the source wrote no time."""
        return instant(self.stamps[index])

    def ended(self) -> "Lines":
        """The same with a line feed at the end, so that more may follow."""
        return Lines(self.text + b"\n", self.stamps) if self.text and not self.text.endswith(b"\n") else self


NO_LINES = Lines(b"", ())


def instant(stamp: bytes) -> datetime | None:
    """The instant that a stamp begins with, cut to microseconds."""
    try:
        at = datetime.fromisoformat(stamp[:64].partition(b" ")[0].decode("ascii"))
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def gap_marker(why: str) -> bytes:
    """The line that stands where lines may be missing."""
    return f"[towpath: lines may be missing here: {why}]\n".encode()


class LongLines:
    """Cuts lines over the cap.

    Of such a line a source keeps only its first `kept_bytes`, so that memory is bounded.
    """

    def __init__(self, masker: Masker, longest_bytes: int = LONGEST_LINE_BYTES) -> None:
        """A line has fewer than `longest_bytes` without its line feed."""
        self._masker = masker
        self.longest_bytes = longest_bytes
        self.kept_bytes = longest_bytes + max(masker.longest - 1, 0)
        """Beyond the cap, the longest form less one: a secret that begins before the cut is seen whole."""

    def cut(self, head: bytes, total_bytes: int) -> bytes:
        """The line without its line feed; a longer one masked, cut, and saying how much is missing.

        `head` is its first `kept_bytes` at most.
        """
        if total_bytes < self.longest_bytes:
            return head
        end = self._masker.end_of_span(head, self.longest_bytes - _MARK_BYTES)
        return self._masker.mask(head[:end]) + f"…[truncated, {total_bytes - end} bytes]".encode()
