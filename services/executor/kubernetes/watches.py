"""Keeping a mirror true: one list and one watch of a kind of objects, for as long as the process lives.

A watch can go silent, end, or fall behind what the server still remembers. So none lasts longer than a bound
kept here, and then everything is listed anew.
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

from services.executor.kubernetes.mirror import Mirror, Seen
from services.executor.kubernetes.reading import list_all
from shared.kubernetes import ApiError, ApiUnavailable, KubernetesApi, Object
from shared.patience import backoff

_log = structlog.get_logger()
_lists = Counter("towpath_kubernetes_lists_total", "Complete lists read from an API server", ["kind"])
_watches = Counter("towpath_kubernetes_watches_total", "Watches begun at an API server", ["kind"])
_heard = Gauge(
    "towpath_kubernetes_heard_seconds", "When a list or a watch last brought something (Unix time)", ["kind"]
)

_LONGEST_LINE_BYTES = 8 << 20
"""An object has at most 1.5 MiB in etcd."""

S = TypeVar("S", bound=Seen)


class TooOld(Exception):
    """The server does not remember so far back: everything is to be listed anew."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[S]):
    """What is watched, and what is kept of it."""

    name: str
    path: str
    selector: str
    reduce: Callable[[Object], S | None]


class Watch(Generic[S]):
    """Keeps one mirror true."""

    def __init__(self, api: KubernetesApi, kind: Kind[S], mirror: Mirror[S], watch_seconds: float) -> None:
        self._api = api
        self._kind = kind
        self._mirror = mirror
        self._watch_seconds = watch_seconds
        self._version = ""
        self.synced = asyncio.Event()
        """There was a complete list."""
        self.back_at = -math.inf
        """When the server answered again after it had not (monotonic)."""

    async def run(self, changed: Callable[[frozenset[int]], None]) -> None:
        """Until it is cancelled. `changed` hears of every attempt that looks different."""
        failures = 0
        while True:
            try:
                changed(await self._list())
                if failures:
                    self.back_at = time.monotonic()
                await self._follow(changed, until=time.monotonic() + self._watch_seconds)
                failures = 0
            except TooOld:  # once in a while; at once again and again where something is wrong
                failures += 1
                await asyncio.sleep(backoff(failures) if failures > 1 else 0)
            except (ApiError, ApiUnavailable) as error:
                failures += 1
                _log.warning("list_failed", kind=self._kind.name, why=str(error))
                await asyncio.sleep(_pause(error, failures))

    async def _list(self) -> frozenset[int]:
        """Raises ApiError, ApiUnavailable, TooOld."""
        try:
            found, self._version = await list_all(
                self._api, self._kind.path, self._kind.selector, self._kind.reduce
            )
        except ApiError as error:
            if error.status == 410:  # in the middle of a list
                raise TooOld from error
            raise
        _lists.labels(self._kind.name).inc()
        _heard.labels(self._kind.name).set_to_current_time()
        changed = self._mirror.listed(found)
        self.synced.set()
        return changed

    async def _follow(self, changed: Callable[[frozenset[int]], None], until: float) -> None:
        """Watches from where the list or the last watch ended; a connection that is cut is made again.

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
        """Raises TooOld, ApiUnavailable."""
        kind, found = self._read(line)
        match kind:
            case "ADDED" | "MODIFIED" | "DELETED":
                seen = self._kind.reduce(found)
                changed = frozenset[int]() if seen is None else self._mirror.told(kind, seen)
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
    """The lines of a stream; a last one that was cut off is left out.

    Raises ApiUnavailable for one that never ends.
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
