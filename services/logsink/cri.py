"""CRI log reader: parses records `<RFC 3339 time> <stdout|stderr> <P|F> <bytes>`, each with a line feed.

`P` marks a part of a line, `F` its end. Records are taken in the order of the file, whether they are stdout
or stderr, as kubelet shows them. Bytes that are no record are kept as a line of their own. Chunks may be cut
at any byte; the lines are the same.
"""

from services.logsink.lines import LONGEST_LINE_BYTES, NO_LINES, Lines, LongLines
from shared.masking import Masker

_STAMP_BYTES = 30  # with nanoseconds, as most runtimes write it
_PREFIX_BYTES = 40
_TAGS = (b"Z stdout F ", b"Z stderr F ")
_MOST_UNENDED_BYTES = 4 * LONGEST_LINE_BYTES
"""Maximum size of a record that has not ended. A longer one is added to its line at once."""


class CriReader:
    """Turns the bytes of CRI files, in order, into masked lines of limited length without prefixes."""

    def __init__(self, masker: Masker, longest_line_bytes: int = LONGEST_LINE_BYTES) -> None:
        self._masker = masker
        self._long = LongLines(masker, longest_line_bytes)
        self._rest = b""  # the bytes of a record that has not ended
        self._swallowed: bytes | None = None  # tag of a long record whose beginning is already in the line
        self._stamp = b""  # stamp of the first record of the current line
        self._head = bytearray()
        self._total = 0
        self._raw = 0
        self._is_open = False  # True if the current line has begun

    @property
    def unfinished_bytes(self) -> int:
        """Returns how many of the last bytes belong to a line that has not ended.

        A reader that starts again before these bytes neither loses nor repeats anything.
        """
        return self._raw + len(self._rest)

    def feed(self, data: bytes) -> Lines:
        """Returns the lines that end in these bytes."""
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        lines = self._lines(data[:end]) if end else NO_LINES
        if len(self._rest) > _MOST_UNENDED_BYTES:
            self._swallow()
        return lines

    def finish(self) -> Lines:
        """Returns the unfinished line at the end of the log, without a line feed."""
        if self._rest:
            self._swallow()
        if not self._is_open:
            return NO_LINES
        stamp = self._stamp
        return Lines(self._masker.mask(self._end_line()), [stamp])

    def _lines(self, block: bytes) -> Lines:
        if not self._is_open:
            simple = _simple_lines(block, self._long.longest_bytes)
            if simple is not None:
                return Lines(self._masker.mask(simple.text), simple.stamps)
        text: list[bytes] = []
        stamps: list[bytes] = []
        for record in block[:-1].split(b"\n"):
            tag = self._take(record)
            self._raw += 1
            if tag != b"P":
                stamps.append(self._stamp)
                text += (self._end_line(), b"\n")
        return Lines(self._masker.mask(b"".join(text)), stamps)

    def _take(self, record: bytes) -> bytes:
        """Adds a record, or the rest of one, to the current line; returns its tag."""
        if self._swallowed is not None:
            stamp, tag, content = self._stamp, self._swallowed, record
            self._swallowed = None
        else:
            stamp, tag, content = _split(record)
        if not self._is_open:
            self._stamp = stamp or self._stamp
            self._is_open = True
        self._head += content[: max(0, self._long.kept_bytes - len(self._head))]
        self._total += len(content)
        self._raw += len(record)
        return tag

    def _swallow(self) -> None:
        self._swallowed = self._take(self._rest)
        self._rest = b""

    def _end_line(self) -> bytes:
        line = self._long.cut(bytes(self._head), self._total)
        self._head.clear()
        self._total = self._raw = 0
        self._is_open = False
        return line


def _split(record: bytes) -> tuple[bytes, bytes, bytes]:
    """Returns (stamp, P or F, content). Bytes that are no record become content without a stamp."""
    stamp, _, rest = record.partition(b" ")
    stream, _, rest = rest.partition(b" ")
    tag, space, content = rest.partition(b" ")
    if not space or stream not in {b"stdout", b"stderr"} or tag[:1] not in {b"P", b"F"}:
        return b"", b"F", record
    return stamp, tag[:1], content


def _simple_lines(block: bytes, longest_bytes: int) -> Lines | None:
    """Returns the lines of these records if all have the same simple form, else None.

    Simple records are of one stream, end their line, are within the limit, and have stamps of the same width.
    The bytes at 29 to 39 alone prove this form: if the stamp is shorter or longer, there can be no `Z` at 29.
    """
    tag = block[_STAMP_BYTES - 1 : _PREFIX_BYTES]
    if tag not in _TAGS:
        return None
    records = block.split(b"\n")
    records.pop()
    lines = [record[_PREFIX_BYTES:] for record in records if record[_STAMP_BYTES - 1 : _PREFIX_BYTES] == tag]
    if len(lines) != len(records) or max(map(len, lines)) >= longest_bytes:
        return None
    lines.append(b"")
    return Lines(b"\n".join(lines), records)
