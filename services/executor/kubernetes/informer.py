"""Keeps a `ObjectCache` up to date, with one list and one watch of a kind of objects, as long as the process
lives.

1. All objects are listed.
2. A watch continues from the version of the list. If its connection is cut, another one continues from the
   last version that was seen.
3. After a bounded time, everything is listed again, because a watch can become silent without an error.

Failures:
- The server no longer has the version (status 410): everything is listed again, at first without a pause.
- The server does not answer or refuses: everything is listed again after a backoff.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import orjson
import structlog
from prometheus_client import Counter, Gauge

from services.executor.kubernetes.listing import list_all
from services.executor.kubernetes.object_cache import ObjectCache, Seen
from shared.backoff import backoff
from shared.kubernetes.client import ApiError, ApiUnavailable, KubernetesApi, Object

_log = structlog.get_logger()
_lists = Counter("towpath_kubernetes_lists_total", "Complete lists read from an API server", ["kind"])
_watches = Counter("towpath_kubernetes_watches_total", "Watches begun at an API server", ["kind"])
_heard = Gauge(
    "towpath_kubernetes_heard_seconds", "When a list or a watch last brought something (Unix time)", ["kind"]
)

_LONGEST_LINE_BYTES = 8 << 20
"""Limit of one event. An object has at most 1.5 MiB in etcd."""

S = TypeVar("S", bound=Seen)


class TooOld(Exception):
    """The server no longer has this version, so everything must be listed again."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """A kind of objects to watch, and the function that reduces an object to what is kept."""

    name: str
    path: str
    selector: str
    reduce: Callable[[Object], S | None]


class Informer(Generic[S]):
    """Keeps one mirror up to date."""

    def __init__(
        self, api: KubernetesApi, kind: Kind[S], cache: ObjectCache[S], watch_seconds: float
    ) -> None:
        self._api = api
        self._kind = kind
        self._cache = cache
        self._watch_seconds = watch_seconds
        self._version = ""
        self.synced = asyncio.Event()
        """Set once a complete list has been read."""
        self.back_at = -math.inf
        """When the server answered again after a failure, by the monotonic clock."""

    async def run(self, changed: Callable[[frozenset[int]], None]) -> None:
        """Run until cancelled. Calls `changed` with the attempts whose objects have changed."""
        failures = 0
        while True:
            try:
                changed(await self._list())
                if failures:
                    self.back_at = time.monotonic()
                await self._follow(changed, until=time.monotonic() + self._watch_seconds)
                failures = 0
            except TooOld:  # list again at once, but with a backoff if it happens repeatedly
                failures += 1
                await asyncio.sleep(backoff(failures) if failures > 1 else 0)
            except (ApiError, ApiUnavailable) as error:
                failures += 1
                _log.warning("list_failed", kind=self._kind.name, why=str(error))
                await asyncio.sleep(_pause(error, failures))

    async def _list(self) -> frozenset[int]:
        """List all objects. Raises ApiError, ApiUnavailable, TooOld."""
        try:
            found, self._version = await list_all(
                self._api, self._kind.path, self._kind.selector, self._kind.reduce
            )
        except ApiError as error:
            if error.status == 410:  # the list expired between two of its pages
                raise TooOld from error
            raise
        _lists.labels(self._kind.name).inc()
        _heard.labels(self._kind.name).set_to_current_time()
        changed = self._cache.listed(found)
        self.synced.set()
        return changed

    async def _follow(self, changed: Callable[[frozenset[int]], None], until: float) -> None:
        """Watch from the last version until `until`; reconnect if the connection is cut.

        Raises TooOld, ApiError.
        """
        failures = 0
        while (left := until - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._watch(changed, left)
                failures = 0
            except TimeoutError:
                return
            except ApiUnavailable as error:
                failures += 1
                await asyncio.sleep(min(_pause(error, failures), max(until - time.monotonic(), 0)))

    async def _watch(self, changed: Callable[[frozenset[int]], None], seconds: float) -> None:
        query = {
            "watch": True,
            "allowWatchBookmarks": True,
            "resourceVersion": self._version,
            "timeoutSeconds": int(seconds) + 1,
        }
        _watches.labels(self._kind.name).inc()
        try:
            async with self._api.stream(
                self._kind.path, idle_seconds=None, labelSelector=self._kind.selector, **query
            ) as chunks:
                async for line in lines_of(chunks):
                    _heard.labels(self._kind.name).set_to_current_time()
                    changed(self._take(line))
        except ApiError as error:
            if error.status == 410:
                raise TooOld from error
            raise

    def _take(self, line: bytes) -> frozenset[int]:
        """Apply one event, and return the attempts that have changed. Raises TooOld, ApiUnavailable."""
        kind, found = self._read(line)
        match kind:
            case "ADDED" | "MODIFIED" | "DELETED":
                seen = self._kind.reduce(found)
                changed = frozenset[int]() if seen is None else self._cache.told(kind, seen)
            case "ERROR":
                if found.get("code") == 410:
                    raise TooOld
                raise ApiUnavailable(
                    f"watch of {self._kind.name}: {found.get('message')}", status=found.get("code")
                )
            case _:  # a bookmark
                changed = frozenset()
        self._version = found["metadata"]["resourceVersion"]
        return changed

    def _read(self, line: bytes) -> tuple[str, Object]:
        try:
            event = orjson.loads(line)
            return event["type"], event["object"]
        except (orjson.JSONDecodeError, TypeError, KeyError) as error:
            raise ApiUnavailable(f"watch of {self._kind.name}: what came is no event") from error


async def lines_of(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, without an incomplete last line.

    Raises ApiUnavailable for a line that is too long to be an event.
    """
    kept = b""
    async for chunk in chunks:
        *lines, kept = (kept + chunk).split(b"\n")
        for line in lines:
            if line:
                yield line
        if len(kept) > _LONGEST_LINE_BYTES:
            raise ApiUnavailable("a watch event without an end")


def _pause(error: ApiError | ApiUnavailable, failures: int) -> float:
    asked = error.retry_after_seconds if isinstance(error, ApiUnavailable) else None
    return max(backoff(failures), asked or 0.0)
