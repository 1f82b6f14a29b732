"""Heavy work beside the event loop: a few pieces at a time, so that streams with much to read neither starve
the others nor fill the memory.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_AT_ONCE = asyncio.Semaphore(2)


async def in_thread(work: Callable[[], T]) -> T:
    """Runs `work` in a thread and waits for its end even when cancelled: whoever is cancelled may close what
    the thread uses.
    """
    async with _AT_ONCE:
        task = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise
