"""Waiting for a condition with a bound, never for a time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until(look: Callable[[], Awaitable[T | None]], *, within: float, what: str) -> T:
    """What `look` answers once that is true. AssertionError with the last answer when it isn't in time."""
    deadline = time.monotonic() + within
    while True:
        answer = await look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within} s; last seen: {answer!r}")
        await asyncio.sleep(0.02)
