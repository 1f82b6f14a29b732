"""Parser of a container's log with timestamps, as the Kubernetes API returns it.

Each line is `<RFC 3339 time> <bytes>` and a line feed. A line without a time is never log text: the kubelet
writes it into an answer when it fails.

The API has no positions in a log. The reader therefore keeps the digests of the last lines that were taken
(`Tail`), and takes the lines after them from a new answer. If it cannot prove that lines follow the tail, it
reports a gap. Only lines that it recognises are dropped.

The kubelet reads only the newest of the files that it rotates. While it follows, it continues from a rotated
file with the newest one and does not report a file in between. This happens only if the reader was held up:
then lines of several seconds are missing, and the line before them is read seconds late. Such a place is
doubtful, and a new answer is requested. An answer skips nothing that was printed before it began.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from services.logsink.lines import LONGEST_LINE_BYTES, NO_LINES, Lines, LongLines, instant
from shared.masking import Masker

TAIL_LINES = 64
"""Number of lines that are remembered by digest.

One would be enough, because a digest includes the number of preceding lines with the same time. More are kept
for a log that lost its last lines in a crash.
"""
REOPEN_BEFORE = timedelta(seconds=5)
"""A new answer begins this long before the last line that was taken.

The two streams of one container are not strictly in order.
"""
_STAMP = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)")
_STAMP_BYTES = 30
_MOST_UNENDED_BYTES = 4 * LONGEST_LINE_BYTES
_SKIPPED_SECONDS = 3
"""Minimum time that a file spans that was never read: kubelets rotate logs at most this often."""
_LATE_SECONDS = 2
"""Minimum delay with which the line before such a file is read.

This is the time that the file spans, less a second for the clocks of two machines.
"""


@dataclass(frozen=True, slots=True)
class Tail:
    """The last lines that were taken from a log."""

    stamp: bytes
    """Stamp of the last line."""
    greatest: bytes
    """Greatest stamp of all lines that were taken."""
    run: int
    """Number of lines with the same time directly before the last one."""
    digests: tuple[bytes, ...]

    def since(self) -> str | None:
        """Returns the `sinceTime`, in whole seconds, of an answer that is sure to have the last line."""
        at = instant(self.stamp)
        return (at - REOPEN_BEFORE).replace(microsecond=0).isoformat().replace("+00:00", "Z") if at else None


class Broken(Enum):
    """Reasons why an answer cannot be read further."""

    NO_LOG_TEXT = auto()
    TAIL_MISSING = auto()
    """The lines that were taken last are missing: their files were rotated away, or lost."""
    WENT_BACK = auto()
    """Lines are from an earlier second than those before: they are repeated, or a clock was set back.

    An answer from the log's beginning shows which.
    """
    DOUBTFUL = auto()
    """Files may have been skipped before the next line.

    A new answer with `whole_until` shows whether they were.
    """


class Mode(Enum):
    """Ways to read an answer after lines were taken before."""

    SEEK = auto()
    """Takes the lines after the tail."""
    SKIP = auto()
    """The tail was not found: takes all lines except those that are recognised, in order."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines that were taken, and the tail after them."""

    lines: Lines
    tail: Tail


class Answer:
    """One answer of the API, read forward."""

    def __init__(  # noqa: PLR0913 - most have a default, and are given by name
        self,
        masker: Masker,
        tail: Tail | None,
        mode: Mode = Mode.SEEK,
        *,
        can_skip_files: bool = False,
        whole_until: float = 0,
        longest_line_bytes: int = LONGEST_LINE_BYTES,
    ) -> None:
        """`can_skip_files`: True if the log is long enough to have been rotated.

        `whole_until`: no file is skipped among lines up to this Unix time.
        """
        self._masker = masker
        self._long = LongLines(masker, longest_line_bytes)
        self._tail = tail
        self._seek = _Seek(tail) if tail and mode is Mode.SEEK else None  # set until the tail is found
        self._known = list(tail.digests) if tail and mode is Mode.SKIP else []
        self.can_skip_files = can_skip_files
        self.whole_until = whole_until
        self._rest = b""
        self._swallowed: _LongLine | None = None
        self._is_first = tail is not None  # True if the next line may be the end of a cut line
        self._stamp = b""  # stamp of the previous line, taken or not
        self._run = 0
        self._second: int | None = None  # second of the previous line, once lines are taken
        self._received_at = 0.0
        self.broken: Broken | None = None
        self.failure = ""
        """With NO_LOG_TEXT: the text that the kubelet wrote."""

    @property
    def is_seeking(self) -> bool:
        """Returns True while the tail has not been found."""
        return self._seek is not None

    @property
    def is_late(self) -> bool:
        """Returns True if the last line was read so late that files may be skipped after it."""
        return self.can_skip_files and self._is_late(self._received_at)

    def feed(self, data: bytes, now: float) -> list[Piece]:
        """Returns the lines that end in these bytes, received at `now` (Unix time).

        Returns none after `broken` is set.
        """
        pieces: list[Piece] = []
        if self._swallowed is not None:
            head, line_feed, data = data.partition(b"\n")
            self._swallowed.add(head)
            if not line_feed:
                return pieces
            long, self._swallowed = self._swallowed, None
            pieces += self._take([long.head], now, long)
        data = self._rest + data if self._rest else data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if end and not self.broken:
            pieces += self._take(data[: end - 1].split(b"\n"), now)
        if len(self._rest) > _MOST_UNENDED_BYTES:
            self._swallowed = _LongLine(self._rest, self._next_run(self._rest), self._long.kept_bytes)
            self._rest = b""
        return pieces

    def end(self) -> None:
        """Ends an answer that is complete: a tail that was not found in it is missing."""
        if self.broken:
            return
        if self._rest and not _STAMP.match(self._rest):
            self.failure = _words(self._rest)
        if self.failure:
            self.broken = Broken.NO_LOG_TEXT
        elif self.is_seeking:
            self.broken = Broken.TAIL_MISSING

    def rest(self) -> Lines:
        """Returns the unfinished line without a line feed: the last line of a container that is over."""
        head, total = (
            (self._swallowed.head, self._swallowed.total)
            if self._swallowed
            else (self._rest, len(self._rest))
        )
        stamp, space, content = head.partition(b" ")
        if not space or self.broken or self.is_seeking or not _STAMP.fullmatch(stamp):
            return NO_LINES
        return Lines(self._masker.mask(self._long.cut(content, total - len(stamp) - 1)), [stamp])

    def _take(self, lines: list[bytes], now: float, long: "_LongLine | None" = None) -> list[Piece]:
        lines = self._with_stamps(lines)
        if self._seek or self._known:
            lines = self._unseen(lines, long, now)
        lines = self._forward(lines, now)
        self._received_at = now
        return [self._piece(lines, long)] if lines else []

    def _with_stamps(self, lines: list[bytes]) -> list[bytes]:
        """Returns these lines up to the first that is not log text."""
        if self._is_first and not _STAMP.match(lines[0]):
            # may be the end of a line that began before `sinceTime`, so before all lines that are sought
            self.failure = _words(lines.pop(0))
        self._is_first = False
        if not lines:
            return lines
        self.failure = ""
        if all(line[_STAMP_BYTES - 1 : _STAMP_BYTES + 1] == b"Z " for line in lines) and _STAMP.match(
            lines[0]
        ):
            return lines
        for index, line in enumerate(lines):
            if not _STAMP.fullmatch(line.partition(b" ")[0]):
                self.broken, self.failure = Broken.NO_LOG_TEXT, _words(line)
                return lines[:index]
        return lines

    def _unseen(self, lines: list[bytes], long: "_LongLine | None", now: float) -> list[bytes]:
        """Returns these lines without those that were taken before."""
        taken: list[bytes] = []
        before = self._stamp, self._run
        for index, line in enumerate(lines):
            run = self._next_run(line)
            digest = long.digest() if long else _digest(line, run)
            self._stamp, self._run = _stamp_of(line), run
            if self._seek:
                if self._seek.is_found(digest):
                    self._seek, self._received_at = None, now
                    return lines[index + 1 :]
                if self._seek.is_past(line):
                    self.broken = Broken.TAIL_MISSING
                    return []
            elif digest in self._known:
                del self._known[: self._known.index(digest) + 1]
            else:
                taken.append(line)
        if taken:
            self._stamp, self._run = before
        return taken

    def _forward(self, lines: list[bytes], now: float) -> list[bytes]:
        """Returns these lines up to the first that goes back in time or follows a doubtful place."""
        if not lines or (self._second == _second_of(lines[0]) and len({line[:19] for line in lines}) == 1):
            return lines
        for index, line in enumerate(lines):
            second = _second_of(line)
            if self._second is not None and second < self._second - 1:
                self.broken = Broken.WENT_BACK
                return lines[:index]
            if self._is_doubtful(second, now if index else self._received_at):
                self.broken, self.whole_until = Broken.DOUBTFUL, second
                return lines[:index]
            self._second, self.whole_until = second, max(self.whole_until, second)
        return lines

    def _is_doubtful(self, second: int, received_at: float) -> bool:
        """Returns True if files may be missing before this second.

        `received_at` is the time at which the previous line was received.
        """
        return (
            self.can_skip_files
            and self._is_late(received_at)
            and second - self.whole_until >= _SKIPPED_SECONDS
        )

    def _is_late(self, received_at: float) -> bool:
        return received_at - self.whole_until >= _LATE_SECONDS

    def _piece(self, lines: list[bytes], long: "_LongLine | None") -> Piece:
        self._tail = tail = self._tail_with(lines, long)
        text: list[bytes] = []
        for line in lines:
            content = (
                line[_STAMP_BYTES + 1 :]
                if line[_STAMP_BYTES : _STAMP_BYTES + 1] == b" "
                else line.partition(b" ")[2]
            )
            if len(content) >= self._long.longest_bytes or long:
                total = (long.total if long else len(line)) - (len(line) - len(content))
                content = self._long.cut(content[: self._long.kept_bytes], total)
            text.append(content)
        text.append(b"")
        return Piece(Lines(self._masker.mask(b"\n".join(text)), lines), tail)

    def _tail_with(self, lines: list[bytes], long: "_LongLine | None") -> Tail:
        """Returns the tail after these lines."""
        before = self._tail
        last = lines[-TAIL_LINES:]
        run = self._run_before(lines, len(lines) - len(last))
        digests = [long.digest() if long else _digest(last[0], run)]
        for previous, line in pairwise(last):
            run = run + 1 if _stamp_of(previous) == _stamp_of(line) else 0
            digests.append(_digest(line, run))
        kept = before.digests[-(TAIL_LINES - len(digests)) :] if before and len(digests) < TAIL_LINES else ()
        self._stamp, self._run = _stamp_of(lines[-1]), run
        greatest = _stamp_of(max(lines))
        if before and not _is_later(greatest, before.greatest):
            greatest = before.greatest
        return Tail(self._stamp, greatest, run, (*kept, *digests))

    def _run_before(self, lines: Sequence[bytes], index: int) -> int:
        """Returns the number of lines with the same time directly before this one."""
        stamp, run = _stamp_of(lines[index]), 0
        while run < index and _stamp_of(lines[index - run - 1]) == stamp:
            run += 1
        return run + self._run + 1 if run == index and stamp == self._stamp else run

    def _next_run(self, line: bytes) -> int:
        """Returns the same number for a line that follows what was read."""
        return self._run + 1 if _stamp_of(line) == self._stamp else 0


class _Seek:
    """Searches the lines of an answer for a tail."""

    def __init__(self, tail: Tail) -> None:
        self._tail = tail
        self._window: deque[bytes] = deque(maxlen=len(tail.digests))

    def is_found(self, digest: bytes) -> bool:
        """Returns True if this line is the last one that was taken.

        The lines before it in the answer must match the tail, too.
        """
        self._window.append(digest)
        return digest == self._tail.digests[-1] and self._tail.digests[-len(self._window) :] == tuple(
            self._window
        )

    def is_past(self, line: bytes) -> bool:
        """Returns True if this line certainly follows the last one."""
        return _is_later(_stamp_of(line), self._tail.greatest)


class _LongLine:
    """A line of which only the beginning is kept."""

    def __init__(self, begin: bytes, run: int, kept_bytes: int) -> None:
        self._kept_bytes = kept_bytes + _STAMP_BYTES + 10
        self.head = begin[: self._kept_bytes]
        self.total = len(begin)
        self._hash = blake2b(begin, digest_size=6, person=run.to_bytes(8, "big"))

    def add(self, data: bytes) -> None:
        self.head += data[: max(0, self._kept_bytes - len(self.head))]
        self.total += len(data)
        self._hash.update(data)

    def digest(self) -> bytes:
        return self._hash.digest()


def _digest(line: bytes, run: int) -> bytes:
    """Returns the digest of a line with its time. Lines that are equal in both differ by their `run`."""
    return blake2b(line, digest_size=6, person=run.to_bytes(8, "big")).digest()


def _stamp_of(line: bytes) -> bytes:
    return line[: line.find(b" ")] if b" " in line[:40] else line[:40]


def _is_later(stamp: bytes, other: bytes) -> bool:
    if len(stamp) == len(other) == _STAMP_BYTES and stamp[-1:] == other[-1:] == b"Z":
        return stamp > other
    one, two = instant(stamp), instant(other)
    return bool(one and two and one > two)


def _second_of(line: bytes) -> int:
    """Returns the Unix time of a line in whole seconds."""
    stamp = _stamp_of(line)
    return _unix(stamp[:19], b"+00:00" if stamp[-1:] == b"Z" else stamp[-6:])


@lru_cache(maxsize=1024)
def _unix(date_and_time: bytes, zone: bytes) -> int:
    return int(datetime.fromisoformat((date_and_time + zone).decode()).timestamp())


def _words(line: bytes) -> str:
    return line[:300].decode("utf-8", "replace")
