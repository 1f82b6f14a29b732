"""Reads request bodies with limits on size, time, rate, and memory over all requests of the process."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from services.gateway.http.problems import Problem, unavailable
from services.gateway.webhooks.body_memory import SMALL_BYTES, Share

RATE_SECONDS = 3.0
"""Length of the window over which the rate is checked. A lost packet delays a body by a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyLimits:
    size_bytes: int
    seconds: float
    bytes_per_second: int


def too_large(limit_bytes: int) -> Problem:
    return Problem(413, "too_large", f"A body may have {limit_bytes} bytes here.")


SINGLE = (
    "Authorization",
    "Content-Encoding",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "Last-Event-ID",
)
"""Request headers that may occur only once.

If one occurred twice, a proxy might have checked the other value.
"""


def check_single(request: web.Request, names: Iterable[str] = SINGLE) -> None:
    """Raise Problem 400 if one of these headers occurs more than once, even with the same value."""
    headers = request.headers
    for name in names:
        if name in headers and len(headers.getall(name)) > 1:
            raise Problem(400, "doubled_header", f"The header {name} stands here twice.")


def check_encoding(request: web.Request) -> None:
    """Raise Problem 415 if the body is compressed.

    A few kilobytes could decompress to gigabytes, and signatures cover the raw bytes.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(
            415,
            "compressed",
            "Compressed bodies are not read: send it without Content-Encoding.",
            headers={"Accept-Encoding": "identity"},
        )


async def read_body(request: web.Request, share: Share, limits: BodyLimits) -> bytes:
    """Read the whole body.

    Raises Problem 413 if it exceeds the size limit, 408 if it arrives too slowly, 503 if other bodies use the
    memory, and 400 if the connection breaks.
    """
    if (request.content_length or 0) > limits.size_bytes:
        raise too_large(limits.size_bytes)
    content = request.content
    if content.is_eof():  # a small body arrived with its headers
        body = content.read_nowait()
        if len(body) > limits.size_bytes:
            raise too_large(limits.size_bytes)
        share.memory.count(share, len(body))
        return body
    try:
        async with asyncio.timeout(None) as share.timer:
            return await _Reading(request, share, limits).read()
    except TimeoutError as error:
        raise _ended(share, limits) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Problem(400, "broken_body", "The body broke off.") from error
    finally:
        share.timer = None
        share.memory.complete(share)


def _ended(share: Share, limits: BodyLimits) -> Problem:
    """Return the problem for a body whose reading was ended by the timeout."""
    if share.is_displaced or share.was_waiting:
        memory = share.memory.limit_bytes
        return unavailable(
            f"Bodies may use {memory} bytes at once here (TOWPATH_BODY_MEMORY_BYTES), and others need them. "
            "Nothing was stored; try again."
        )
    detail = (
        f"The body did not arrive within {limits.seconds:g} seconds (TOWPATH_BODY_SECONDS), "
        f"or with less than {limits.bytes_per_second} bytes per second (TOWPATH_BODY_BYTES_PER_SECOND)."
    )
    return Problem(408, "too_slow", detail, headers={"Connection": "close"})


class _Reading:
    """The reading of one body."""

    def __init__(self, request: web.Request, share: Share, limits: BodyLimits) -> None:
        self._content = request.content
        self._announced = request.content_length
        self._share = share
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + limits.seconds
        self._is_small = self._announced is not None and self._announced <= SMALL_BYTES
        self._in_window = 0

    async def read(self) -> bytes:
        share, chunks, size = self._share, [], 0
        self._begin_window()
        share.memory.arriving(share)
        while chunk := await self._content.readany():
            size += len(chunk)
            if size > self._limits.size_bytes:
                raise too_large(self._limits.size_bytes)
            self._in_window += len(chunk)
            if self._in_window >= self._limits.bytes_per_second * RATE_SECONDS:
                self._begin_window()
            if size > share.held_bytes:
                await self._take(size)
            chunks.append(chunk)
        return b"".join(chunks)

    async def _take(self, size: int) -> None:
        """Take memory for the bytes received so far. A large body of known size takes its whole size."""
        share = self._share
        wanted = size if self._announced is None or self._is_small else self._announced
        missing = wanted - share.held_bytes
        if not share.memory.can_ever_fit(wanted, is_small=self._is_small):
            raise unavailable(
                f"Bodies may use {share.memory.limit_bytes} bytes at once here (TOWPATH_BODY_MEMORY_BYTES), "
                "and this one is larger than what large bodies may use. Nothing was stored."
            )
        if share.timer is not None and not share.is_displaced:
            share.timer.reschedule(self._ends_at)
        share.was_waiting = True
        await share.memory.take(share, missing, is_small=self._is_small)
        share.was_waiting = False
        self._begin_window()

    def _begin_window(self) -> None:
        now = self._loop.time()
        self._in_window, self._share.since = 0, now
        if self._share.timer is not None and not self._share.is_displaced:
            self._share.timer.reschedule(min(self._ends_at, now + RATE_SECONDS))
