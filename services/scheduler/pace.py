"""Long work in slices, so that one event's pipelines do not block the event loop."""

import asyncio

SLICE_SECONDS = 0.005
"""Much shorter than any timeout, and much longer than one turn of the event loop."""


class Pace:
    """Lets other tasks run when the current task has held the event loop for a slice."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def keep(self) -> None:
        """Yields to other tasks if the slice is over. Call it before each part of the work."""
        if self._loop.time() - self._since >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = self._loop.time()
