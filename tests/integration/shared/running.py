"""Runs runnables as tasks during a block."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.service import Runnable


@asynccontextmanager
async def running(*runnables: Runnable) -> AsyncIterator[None]:
    """Run them, and cancel and await them at the end of the block, as a service does."""
    tasks = [asyncio.create_task(runnable.run()) for runnable in runnables]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
