"""Waiting for a condition with a bound, never for a time."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_WITH_PODS = os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes"
_SIDE_BY_SIDE = "PYTEST_XDIST_WORKER" in os.environ
PATIENCE = {(True, True): 6, (True, False): 4, (False, True): 3, (False, False): 1}[_WITH_PODS, _SIDE_BY_SIDE]
"""Pods take seconds where local processes take milliseconds, and tests side by side wait for the processor:
every bound is so many times as long.
"""


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
