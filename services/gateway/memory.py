"""Gives memory back to the system after a burst of requests.

The C library keeps freed memory for itself where something small lies above it, so without this a gateway
would stay as large as it was at its worst moment.
"""

import asyncio
import ctypes
import os
from pathlib import Path

CHECK_SECONDS = 5.0
GROWTH_BYTES = 32 << 20
"""With less growth than this since the last time there is nothing to win."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


class MemoryReturn:
    """Runs beside the gateway."""

    def __init__(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        self._trim = trim
        self._after_bytes = 0

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.give_back()

    async def give_back(self) -> bool:
        """Gives back what is free, in a thread, where memory has grown since the last time. True: it has."""
        resident = resident_bytes()
        self._after_bytes = min(self._after_bytes or resident, resident)
        if self._trim is None or resident < self._after_bytes + GROWTH_BYTES:
            return False
        await asyncio.to_thread(self._trim, 0)  # ctypes lets other threads run meanwhile
        self._after_bytes = resident_bytes()
        return True
