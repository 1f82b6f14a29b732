"""The file source: a container's CRI log files in a pod's directory, with rotation.

It serves the local cluster and the node agent.

It is woken by inotify; a look every few seconds finds what no event tells, such as a supervisor that was
killed.
"""

import asyncio
import contextlib
import time
import zlib
from pathlib import Path
from typing import Protocol

from services.logsink.cri import CriReader
from services.logsink.lines import LONGEST_LINE_BYTES
from services.logsink.masking import Masker
from services.logsink.sources import Cursor, End, Reading, SourceAway
from services.logsink.sources.log_files import LogFile, LogFiles
from services.logsink.threads import in_thread
from services.logsink.wakeups import Wakeups

CHUNK_BYTES = 1 << 20
LOOK_SECONDS = 1.0
_INLINE_BYTES = 1 << 16
"""Less than this is read in the event loop: a thread costs more."""


class PodFiles(Protocol):
    """A pod as far as its logs are files, and the evidence that one of them has ended."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """The directories in which something happens when a log grows or ends."""
        ...

    def files(self, container: str) -> LogFiles: ...

    def says_ended(self, container: str) -> bool:
        """Whether the log is known to have its last byte. Cheap; False may be late."""
        ...

    def evidence(self, container: str) -> End | None:
        """Why nothing more will come, or None.

        What was written is in the files when this answers. Raises SourceAway.
        """
        ...

    def start(self, bell: asyncio.Event) -> None:
        """Look for evidence from now on, and ring this bell when there is some. Safe to repeat."""
        ...

    def attempt_over(self, reason: str | None) -> None: ...

    async def close(self) -> None: ...


class CriFileSource:
    """A `Source` over the log files of one container."""

    def __init__(
        self,
        pod: PodFiles,
        container: str,
        masker: Masker,
        wakeups: Wakeups,
        longest_line_bytes: int = LONGEST_LINE_BYTES,
    ) -> None:
        self._pod = pod
        self._container = container
        self._files = pod.files(container)
        self._cri = CriReader(masker, longest_line_bytes)
        self._wakeups = wakeups
        self._bell = asyncio.Event()
        self._unwatched = set(pod.watched)
        self._looked_at = -LOOK_SECONDS  # for what no event tells
        self._cursor: Cursor | None = None
        self._file: LogFile | None = None
        self._following: LogFile | None = None
        self._gap: str | None = None
        self._end: End | None = None

    def start_at(self, cursor: Cursor | None) -> None:
        """Where to read on; before the first `read`."""
        self._cursor = cursor

    async def read(self) -> Reading:
        self._pod.start(self._bell)
        if (
            self._unwatched and not self.has_ended()
        ):  # of a log that is complete already nothing more will come
            self._unwatched -= {
                directory for directory in self._unwatched if self._wakeups.watch(directory, self._bell)
            }
        try:
            if self._file and self._file.waiting_bytes() > _INLINE_BYTES:
                return await in_thread(self._read)
            return self._read()
        except (OSError, EOFError, zlib.error) as error:
            raise SourceAway(f"{type(error).__name__}: {error}") from error

    async def changed(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._bell.wait()
        self._bell.clear()

    def has_ended(self) -> bool:
        return self._end is not None or self._pod.says_ended(self._container)

    def attempt_over(self, reason: str | None) -> None:
        self._pod.attempt_over(reason)

    async def close(self) -> None:
        self._wakeups.forget(self._bell)
        await self._pod.close()
        for file in (self._file, self._following):
            if file:
                file.close()

    def _read(self) -> Reading:
        end = self._end or (
            End() if self._pod.says_ended(self._container) else None
        )  # before the last read: what was written until then is read
        if self._file is None:
            self._open()
        data = self._file.read(CHUNK_BYTES) if self._file else b""
        if self._file and data:
            lines = self._cri.feed(data)
            cursor = self._file.advance(data, self._cri.unfinished_bytes)
            more = len(data) >= _INLINE_BYTES or end is not None or not self._files.is_current(self._file)
            return Reading(lines, cursor, self._taken_gap(), more)
        return self._at_end_of_file(end)

    def _open(self) -> None:
        if self._cursor is not None:
            self._file = self._files.find(self._cursor)
            if self._file is None:
                self._file = self._files.find_what_is_left(self._cursor)
                self._gap = "the end of the log file was lost" if self._file else None
        if self._file is None:
            self._file = self._files.first()
            if self._file and self._cursor is not None:
                self._gap = "the place in the log file where reading stopped is gone"

    def _at_end_of_file(self, end: End | None) -> Reading:
        if self._file is not None:
            if self._following is not None:
                self._file.close()
                self._file, self._following = self._following, None
                return Reading(more=True)
            following, is_lost = self._files.after(self._file, log_ended=end is not None)
            if is_lost and following is not None:
                return self._lose("log files were rotated away before they were read", following)
            if following is not None:
                self._following = following  # after one more read of this one
                return Reading(more=True)
            if self._file.was_cut():
                return self._lose("the log file was cut short", None)
        if end is None:
            return self._look_for_evidence()
        lines = self._cri.finish()
        if self._cursor is not None and self._file is None and end.gap is None:
            end = End("the log file is gone")
        return Reading(lines.ended() if end.gap else lines, gap=self._taken_gap(), end=end)

    def _look_for_evidence(self) -> Reading:
        """What no event tells.

        Evidence found here is used by the next read: something may have been written before it came to be.
        """
        if time.monotonic() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = time.monotonic()
            self._end = self._pod.evidence(self._container)
        return Reading(more=self._end is not None)

    def _lose(self, why: str, following: LogFile | None) -> Reading:
        """Ends the line under way, reads on in `following` (None: in the same file), and has the next reading
        tell of the gap.
        """
        cut = self._cri.finish().ended()
        self._gap = why
        if following is not None and self._file is not None:
            self._file.close()
            self._file = following
        return Reading(cut, more=True)

    def _taken_gap(self) -> str | None:
        gap, self._gap = self._gap, None
        return gap
