"""Waits for a condition with a bound, instead of sleeping for a fixed time."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_WITH_PODS = os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes"
_SIDE_BY_SIDE = "PYTEST_XDIST_WORKER" in os.environ
TIMEOUT_FACTOR = {(True, True): 6, (True, False): 4, (False, True): 3, (False, False): 1}[
    _WITH_PODS, _SIDE_BY_SIDE
]
"""The factor by which every bound is multiplied.

Pods take seconds where local processes take milliseconds, and tests that run in parallel wait for the
processor.
"""


async def until(condition: Callable[[], Awaitable[T | None]], *, within: float, what: str) -> T:
    """Return the result of `condition` once it is true.

    Raises AssertionError with the last result if time runs out.
    """
    deadline = time.monotonic() + within * TIMEOUT_FACTOR
    while True:
        answer = await condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within * TIMEOUT_FACTOR} s; last seen: {answer!r}")
        await asyncio.sleep(0.02)
