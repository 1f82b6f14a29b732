"""Reading request bodies: bounded in size, in time, and in memory over all requests of the process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from services.gateway.problems import Problem, unavailable


class BodyMemory:
    """The bytes of bodies that are held at this moment."""

    def __init__(self, limit_bytes: int) -> None:
        self._free_bytes = limit_bytes

    @contextmanager
    def share(self) -> Iterator["Share"]:
        """One request's part of the memory, given back when its answer is made."""
        share = Share(self)
        try:
            yield share
        finally:
            self._free_bytes += share.held_bytes

    def take(self, size: int) -> None:
        if size > self._free_bytes:
            raise unavailable("Too many large requests at once. Nothing was stored; try again.")
        self._free_bytes -= size


class Share:
    """What one request holds."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.held_bytes = 0

    def hold(self, size: int) -> None:
        self._memory.take(size)
        self.held_bytes += size


def _too_large(limit_bytes: int) -> Problem:
    return Problem(413, "too_large", f"A body may have {limit_bytes} bytes here.")


def check_encoding(request: web.Request) -> None:
    """Compressed bodies are refused: a few kilobytes could become gigabytes, and signatures are over raw bytes."""
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise Problem(415, "compressed", "Compressed bodies are not read: send it without Content-Encoding.", headers={"Accept-Encoding": "identity"})


async def read_body(request: web.Request, share: Share, *, limit_bytes: int, seconds: float) -> bytes:
    """The whole body. Raises Problem: 413 over the limit, 408 when it takes too long, 503 when other bodies use the memory."""
    if (request.content_length or 0) > limit_bytes:
        raise _too_large(limit_bytes)
    content = request.content
    if content.is_eof():  # a small body came with its headers
        body = content.read_nowait()
        if len(body) > limit_bytes:
            raise _too_large(limit_bytes)
        share.hold(len(body))
        return body
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(seconds):
            while chunk := await content.readany():
                share.hold(len(chunk))
                if share.held_bytes > limit_bytes:
                    raise _too_large(limit_bytes)
                chunks.append(chunk)
    except TimeoutError as error:
        raise Problem(408, "too_slow", f"The body did not arrive within {seconds:g} seconds.", headers={"Connection": "close"}) from error
    except (web.RequestPayloadError, ConnectionError) as error:
        raise Problem(400, "broken_body", "The body broke off.") from error
    return b"".join(chunks)
