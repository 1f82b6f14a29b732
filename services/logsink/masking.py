"""Secrets in logs: every form in which a known value may be printed is replaced by `***`.

Pure. It works on whole lines, before segments are cut; a line that is cut short is masked by `LongLines`
before it is cut.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from urllib.parse import quote, quote_plus

MASK = b"***"
SHORTEST_VALUE = 6
"""Shorter values would mask half of every log."""
SHORTEST_LINE = 8
"""Of a value of several lines, shorter lines (`-----`, `}`) are no secret."""


def forms_of(value: bytes) -> set[bytes]:
    """Every way in which this value may stand in a log: raw, base64 at its three alignments, URL-encoded,
    JSON-escaped; of several lines, each line's.
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
    """The characters of the base64 of any text that holds `line` at this alignment (0 to 2) which depend on
    `line` alone.
    """
    encoded = base64.b64encode(b"\0" * alignment + line).rstrip(b"=")
    first = (alignment * 8 + 5) // 6
    return encoded[first : (alignment + len(line)) * 8 // 6]


class Masker:
    """Replaces every form of these values. Lines keep their number: no form holds a line feed."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._forms = sorted({form for value in values for form in forms_of(value)}, key=len, reverse=True)
        self.longest = len(self._forms[0]) if self._forms else 0

    def mask(self, text: bytes) -> bytes:
        """These whole lines without secrets; the same bytes where there is none."""
        if not self._hits(text):
            return text
        text = self._replace(text)
        if self._hits(text):  # what is left around a mask reads as another secret
            text = b"\n".join(MASK if self._hits(line) else line for line in text.split(b"\n"))
        return text

    def end_of_span(self, text: bytes, position: int) -> int:
        """Where the secrets end that reach over this position; the position itself where none does."""
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
        """(start, end) of what is secret, in order; forms that overlap make one span."""
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
