"""Wakes followers when something happens in a directory that they watch, by inotify.

A wake-up is a doorbell: it may come twice or for nothing, and where the kernel grants no more watches it does
not come at all (followers look every few seconds anyway).
"""

import asyncio
import contextlib
from collections import defaultdict
from pathlib import Path

import structlog
from asyncinotify import Event, Inotify, Mask, Watch
from prometheus_client import Counter

_log = structlog.get_logger()
_refused = Counter(
    "towpath_logsink_watches_refused_total",
    "Directories that the kernel would not watch (fs.inotify.max_user_watches)",
)

_WHAT = Mask.MODIFY | Mask.CREATE | Mask.MOVED_TO | Mask.DELETE_SELF | Mask.ONLYDIR
_EVENTS_AT_ONCE = 256


class Wakeups:
    """One inotify instance for the whole process."""

    name = "wakeups"

    def __init__(self) -> None:
        self._inotify = Inotify(cache_size=_EVENTS_AT_ONCE)
        self._bells: defaultdict[Watch, set[asyncio.Event]] = defaultdict(set)
        self._watches: defaultdict[asyncio.Event, set[Watch]] = defaultdict(set)

    def watch(self, directory: Path, bell: asyncio.Event) -> bool:
        """Ring this bell when something happens in the directory.

        False when it can't be watched (it may not be there yet).
        """
        try:
            watch = self._inotify.add_watch(directory, _WHAT)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            _refused.inc()
            _log.warning("watch_refused", directory=str(directory), why=str(error))
            return False
        self._bells[watch].add(bell)
        self._watches[bell].add(watch)
        return True

    def forget(self, bell: asyncio.Event) -> None:
        """Never ring this bell again."""
        for watch in self._watches.pop(bell, set()):
            self._bells[watch].discard(bell)
            if not self._bells[watch]:
                del self._bells[watch]
                with contextlib.suppress(OSError):  # the directory is gone, and its watch with it
                    self._inotify.rm_watch(watch)

    async def run(self) -> None:
        while True:
            self._ring(await self._inotify.get())

    def close(self) -> None:
        self._inotify.close()

    def _ring(self, event: Event) -> None:
        watch = event.watch
        if watch is not None:
            bells = self._bells.get(watch, set())
        elif Mask.Q_OVERFLOW in event.mask:  # events were lost: anything may have happened
            bells = set(self._watches)
        else:
            return
        for bell in bells:
            bell.set()
