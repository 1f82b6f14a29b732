"""Returns free memory to the operating system after a burst of requests.

The C library keeps freed memory below any block that is still in use. Without this task, the process would
stay as large as at its peak.
"""

import asyncio
import ctypes
import os
from pathlib import Path

CHECK_SECONDS = 5.0
GROWTH_BYTES = 32 << 20
"""Memory is returned only after this much growth. Each attempt takes a few milliseconds."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


class MemoryReturn:
    """The background task that returns free memory."""

    def __init__(self) -> None:
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has this function
        self._trim = trim
        self._least_bytes = resident_bytes()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            await self.give_back()

    async def give_back(self) -> bool:
        """Return free memory if the process is much larger than at its smallest. Return True if it was tried.

        The work runs in a thread. The growth is compared with the smallest size ever seen, not with the size
        after the last attempt. An attempt that frees nothing therefore does not prevent the next one, which
        is needed if memory is freed later.
        """
        resident = resident_bytes()
        self._least_bytes = min(self._least_bytes, resident)
        if self._trim is None or resident < self._least_bytes + GROWTH_BYTES:
            return False
        await asyncio.to_thread(self._trim, 0)  # ctypes releases the GIL during the call
        return True
