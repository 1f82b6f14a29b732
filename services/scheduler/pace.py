"""Long work in slices, so that one event's pipelines don't hold up everything else in the process."""

import asyncio

SLICE_SECONDS = 0.005
"""Much less than any timeout, and much more than a turn of the event loop costs."""


class Pace:
    """Lets other tasks run when this one has held the event loop for a slice."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._since = self._loop.time()

    async def keep(self) -> None:
        """Call it before each part of the work."""
        if self._loop.time() - self._since >= SLICE_SECONDS:
            await asyncio.sleep(0)
            self._since = self._loop.time()
