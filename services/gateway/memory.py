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
"""With less than this there is nothing to win. Each try takes a few milliseconds."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


class MemoryReturn:
    """Runs beside the gateway."""

    def __init__(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
        self._trim = trim
        self._least_bytes = resident_bytes()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.give_back()

    async def give_back(self) -> bool:
        """Gives back what is free, in a thread, where the process is much larger than at its smallest.

        True: it has.

        Memory that is freed later does not make the process larger, so a try that found nothing to give back
        must not keep the next one from trying.
        """
        resident = resident_bytes()
        self._least_bytes = min(self._least_bytes, resident)
        if self._trim is None or resident < self._least_bytes + GROWTH_BYTES:
            return False
        await asyncio.to_thread(self._trim, 0)  # ctypes lets other threads run meanwhile
        return True
