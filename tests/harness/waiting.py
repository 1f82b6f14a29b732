"""Waiting for a condition with a bound, never for a time."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 4 if os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes" else 1
"""Pods take seconds where local processes take milliseconds: every bound is so many times as long."""


async def until(look: Callable[[], Awaitable[T | None]], *, within: float, what: str) -> T:
    """What `look` answers once that is true. AssertionError with the last answer when it isn't in time."""
    deadline = time.monotonic() + within * PATIENCE
    while True:
        answer = await look()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within * PATIENCE} s; last seen: {answer!r}")
        await asyncio.sleep(0.02)
