"""Tests that the gateway returns its memory to the system after a burst."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
BURST = """
import asyncio
from services.gateway.memory import MemoryReturn, resident_bytes

async def main():
    memory = MemoryReturn()
    assert not await memory.give_back()
    before = resident_bytes()
    burst = [bytes(1000) for _ in range(200_000)]
    if {tried_before}:
        await memory.give_back()
    pin = bytes(1000)
    del burst
    kept = resident_bytes()
    assert await memory.give_back()
    assert not await memory.give_back()
    print(before, kept, resident_bytes(), len(pin))

asyncio.run(main())
"""


@pytest.mark.parametrize("tried_before", [False, True], ids=["after", "during and after"])
def test_x06_memory_goes_back_after_a_burst(tried_before: bool) -> None:
    """A call during the burst returns no memory, and does not prevent a later call from doing so."""
    said = subprocess.run(
        [sys.executable, "-c", BURST.replace("{tried_before}", str(tried_before))],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    before, kept, after, _ = map(int, said.split())
    assert kept > before + (100 << 20), "the C library keeps what was freed, or this test shows nothing"
    assert after < before + (20 << 20)
