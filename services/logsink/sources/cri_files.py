"""File source: reads a container's CRI log files in a pod's directory, with rotation.

The local cluster and the node agent use it. It is woken by inotify. A check every few seconds finds changes
that cause no event, such as a supervisor that was killed.
"""

import asyncio
import contextlib
import time
import zlib
from pathlib import Path
from typing import Protocol

from services.logsink.cri import CriReader
from services.logsink.lines import LONGEST_LINE_BYTES
from services.logsink.sources import Cursor, End, Reading, SourceAway
from services.logsink.sources.log_files import LogFile, LogFiles
from services.logsink.threads import in_thread
from services.logsink.wakeups import Wakeups
from shared.masking import Masker

CHUNK_BYTES = 1 << 20
CHECK_SECONDS = 1.0
_INLINE_BYTES = 1 << 16
"""Less than this is read in the event loop, because a thread costs more."""


class PodFiles(Protocol):
    """A pod whose logs are files, with the signs that a log has ended."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """Returns the directories that change when a log grows or ends."""
        ...

    def files(self, container: str) -> LogFiles: ...

    def says_ended(self, container: str) -> bool:
        """Returns True if the log is known to be complete. Cheap.

        It may return False for a while after the end.
        """
        ...

    def known_end(self, container: str) -> End | None:
        """Returns the end of the log, or None if more may be written.

        All lines that were written are in the files when this returns. Raises SourceAway.
        """
        ...

    def start(self, changed: asyncio.Event) -> None:
        """Starts to look for the end of the log.

        Sets the event `changed` when there is news. Safe to repeat.
        """
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
        self._changed = asyncio.Event()
        self._unwatched = set(pod.watched)
        self._checked_at = -CHECK_SECONDS  # time of the last check for changes without an event
        self._cursor: Cursor | None = None
        self._file: LogFile | None = None
        self._following: LogFile | None = None
        self._gap: str | None = None
        self._end: End | None = None

    def start_at(self, cursor: Cursor | None) -> None:
        """Sets the position to read from; call it before the first `read`."""
        self._cursor = cursor

    async def read(self) -> Reading:
        self._pod.start(self._changed)
        if self._unwatched and not self.has_ended():  # a complete log gets no more lines
            self._unwatched -= {
                directory for directory in self._unwatched if self._wakeups.watch(directory, self._changed)
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
                await self._changed.wait()
        self._changed.clear()

    def has_ended(self) -> bool:
        return self._end is not None or self._pod.says_ended(self._container)

    def attempt_over(self, reason: str | None) -> None:
        self._pod.attempt_over(reason)

    async def close(self) -> None:
        self._wakeups.forget(self._changed)
        await self._pod.close()
        for file in (self._file, self._following):
            if file:
                file.close()

    def _read(self) -> Reading:
        # checked before reading, so that the last read returns all lines
        if self._end is None and self._pod.says_ended(self._container):
            self._end = self._pod.known_end(self._container)
        end = self._end
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
                self._following = following  # used after one more read of the current file
                return Reading(more=True)
            if self._file.was_cut():
                return self._lose("the log file was cut short", None)
        if end is None:
            return self._check_for_end()
        lines = self._cri.finish()
        if self._cursor is not None and self._file is None and end.gap is None:
            end = End("the log file is gone")
        return Reading(lines.ended() if end.gap else lines, gap=self._taken_gap(), end=end)

    def _check_for_end(self) -> Reading:
        """Checks for an end that causes no event.

        An end that is found here is used by the next read, because lines may have been written before it.
        """
        if time.monotonic() - self._checked_at >= CHECK_SECONDS:
            self._checked_at = time.monotonic()
            self._end = self._pod.known_end(self._container)
        return Reading(more=self._end is not None)

    def _lose(self, why: str, following: LogFile | None) -> Reading:
        """Ends the current line, continues in `following` (None: in the same file), and notes the gap.

        The next reading reports the gap.
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
