"""Threads for heavy work, outside the event loop and at most two at once.

The limit prevents streams with much to read from blocking the others or filling the memory.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = asyncio.Semaphore(2)


async def in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread. If this call is cancelled, it still waits for the end of `work`.

    The wait is necessary because the cancelled caller may close files that the thread uses.
    """
    async with _AT_ONCE:
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise
