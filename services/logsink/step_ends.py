"""Proof that the log of a job's steps has its end.

The step driver prints an end marker after the output of a step, and then notes the end of the step outside
the log. If the marker of that step is in the log, everything before it is there too.
"""

import re

from services.logsink.lines import ends_with_cut_line
from shared import step_markers
from shared.masking import Masker

END_NOT_KEPT = "the end of this container's output was not kept by the cluster"


def mark_in_log(creation_token: str, masker: Masker) -> bytes | None:
    """Returns the bytes with which each marker begins in the stored log of this attempt.

    Returns None if a secret occurs in markers, which are then masked and cannot be found.
    """
    mark = step_markers.mark(step_markers.nonce(creation_token))
    marker = mark + b"begin 1 \n" + mark + b"end 1 0 s\n"
    return mark if masker.mask(marker) == marker else None


class StepEnds:
    """The last step whose whole output is known to be in a log. Add the text of the log in order."""

    def __init__(self, mark: bytes | None) -> None:
        """`mark` is None for a log that cannot be examined: `has` is then always True."""
        self._mark = mark
        self._marker = re.compile(re.escape(mark or b"") + rb"(begin|end) ([0-9]{1,4}) [^\n]*\n")
        self._last = 0
        self._ends_with_cut_line = False

    def add(self, text: bytes) -> None:
        """Adds whole lines; only the last line of the log may lack its line feed."""
        if self._mark is None or not text:
            return
        self._ends_with_cut_line = ends_with_cut_line(text)
        if self._mark in text:
            for kind, index in self._marker.findall(text):
                self._last = max(self._last, int(index) - (kind == b"begin"))

    def has(self, step: int | None) -> bool:
        """Returns False if this step has ended and its end is not in the log.

        The marker follows in the same line if the step's output has no final line feed. If that line was too
        long, its end was cut off, and the line feed alone shows that it was complete.
        """
        return self._mark is None or step is None or self._last >= step or self._ends_with_cut_line
