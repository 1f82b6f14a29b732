"""Wake-ups of followers by inotify, when something happens in a directory that they watch.

A wake-up is only a notification. It may come twice or without a cause, and it does not come if the kernel
grants no more watches. Followers therefore also check every few seconds.
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
    """The inotify instance of this process."""

    name = "wakeups"

    def __init__(self) -> None:
        self._inotify = Inotify(cache_size=_EVENTS_AT_ONCE)
        self._bells: defaultdict[Watch, set[asyncio.Event]] = defaultdict(set)
        self._watches: defaultdict[asyncio.Event, set[Watch]] = defaultdict(set)

    def watch(self, directory: Path, changed: asyncio.Event) -> bool:
        """Sets the event `changed` when something happens in the directory.

        Returns False if the directory cannot be watched, for example because it does not exist yet.
        """
        try:
            watch = self._inotify.add_watch(directory, _WHAT)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            _refused.inc()
            _log.warning("watch_refused", directory=str(directory), why=str(error))
            return False
        self._bells[watch].add(changed)
        self._watches[changed].add(watch)
        return True

    def forget(self, changed: asyncio.Event) -> None:
        """Removes all watches of this event, so that it is not set again."""
        for watch in self._watches.pop(changed, set()):
            self._bells[watch].discard(changed)
            if not self._bells[watch]:
                del self._bells[watch]
                with contextlib.suppress(OSError):  # the directory was deleted, and its watch with it
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
        for changed in bells:
            changed.set()
