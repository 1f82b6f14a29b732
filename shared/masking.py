"""Masking of secrets: every form in which a known value may be printed is replaced by `***`. Pure.

The log sink masks whole lines, before they are cut into segments; its `LongLines` masks a line that is too
long before it cuts it. The executor masks other text that comes from user code. The gateway refuses values
that have no form.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = b"***"
SHORTEST_VALUE = 6
"""Shorter values are not masked, because they would mask large parts of every log."""
SHORTEST_LINE = 8
"""Shorter lines of a value with several lines (such as `-----` or `}`) are not treated as secrets."""


def forms_of(value: bytes) -> set[bytes]:
    """Returns every form in which this value may appear in a log.

    The forms are raw, base64 at its three alignments, URL-encoded and JSON-escaped. A value with several
    lines has the forms of each line.
    """
    lines = value.splitlines()
    shortest = SHORTEST_VALUE if len(lines) == 1 else SHORTEST_LINE
    return {form for line in lines if len(line) >= shortest for form in (line, *_encoded(line))}


def _encoded(line: bytes) -> Iterator[bytes]:
    for alignment in range(3):
        encoded = _base64_inner(line, alignment)
        yield encoded
        yield encoded.translate(bytes.maketrans(b"+/", b"-_"))
    for quoted in (quote(line, safe=""), quote(line), quote_plus(line)):
        yield quoted.encode()
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1]
        yield escaped.encode()
        yield escaped.replace("/", "\\/").encode()
        yield escaped.translate({ord(sign): f"\\u{ord(sign):04x}" for sign in "<>&"}).encode()


def _base64_inner(line: bytes, alignment: int) -> bytes:
    """Returns those base64 characters of a longer text that depend on `line` alone.

    `alignment` (0 to 2) is the alignment of `line` in that text.
    """
    encoded = base64.b64encode(b"\0" * alignment + line).rstrip(b"=")
    first = (alignment * 8 + 5) // 6
    return encoded[first : (alignment + len(line)) * 8 // 6]


class Masker:
    """Replaces every form of these values. The number of lines stays the same: no form has a line feed."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._forms = sorted({form for value in values for form in forms_of(value)}, key=len, reverse=True)
        self.longest = len(self._forms[0]) if self._forms else 0

    def mask(self, text: bytes) -> bytes:
        """Returns these whole lines without secrets, or the same bytes if there are none."""
        if not self._hits(text):
            return text
        text = self._replace(text)
        if self._hits(text):  # the text around a mask forms another secret
            text = b"\n".join(MASK if self._hits(line) else line for line in text.split(b"\n"))
        return text

    def end_of_span(self, text: bytes, position: int) -> int:
        """Returns the end of the secret that reaches across this position, or else the position."""
        return next((end for start, end in self._spans(text) if start < position < end), position)

    def _hits(self, text: bytes) -> bool:
        return any(form in text for form in self._forms)

    def _replace(self, text: bytes) -> bytes:
        pieces: list[bytes] = []
        done = 0
        for start, end in self._spans(text):
            pieces += (text[done:start], MASK)
            done = end
        return b"".join((*pieces, text[done:]))

    def _spans(self, text: bytes) -> list[tuple[int, int]]:
        """Returns (start, end) of each secret, in order; forms that overlap make one span."""
        found: list[tuple[int, int]] = []
        for form in self._forms:
            at = text.find(form)
            while at >= 0:
                found.append((at, at + len(form)))
                at = text.find(form, at + 1)
        spans: list[tuple[int, int]] = []
        for start, end in sorted(found):
            if spans and start < spans[-1][1]:
                spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
            else:
                spans.append((start, end))
        return spans
