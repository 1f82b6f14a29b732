"""Reading request bodies: bounded in size, time, rate, and in memory over all requests of the process."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from aiohttp import web

from services.gateway.body_memory import SMALL_BYTES, Share
from services.gateway.problems import Problem, unavailable

RATE_SECONDS = 3.0
"""The rate is checked over so long: a lost packet costs a second."""


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
"""Request headers with one value each. If one stood here twice, a proxy might have checked the other one."""


def check_single(request: web.Request, names: Iterable[str] = SINGLE) -> None:
    """Raises Problem 400 for a header that stands in the request twice, with the same value too."""
    headers = request.headers
    for name in names:
        if name in headers and len(headers.getall(name)) > 1:
            raise Problem(400, "doubled_header", f"The header {name} stands here twice.")


def check_encoding(request: web.Request) -> None:
    """Compressed bodies are refused: a few kilobytes could become gigabytes, and signatures are over raw
    bytes.
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
    """The whole body.

    Raises Problem: 413 over the limit, 408 when it comes too slowly, 503 when other bodies use the memory.
    """
    if (request.content_length or 0) > limits.size_bytes:
        raise too_large(limits.size_bytes)
    content = request.content
    if content.is_eof():  # a small body came with its headers
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
    """Why a body was not read to its end."""
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
    """One body on its way in."""

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
        """Memory for what has come. Of a large body whose size is known: for all of it."""
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
