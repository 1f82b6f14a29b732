"""The memory that processes use together. Each page counts once, as for a container."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_KIB = 1024


def uses_more(pids: Sequence[int], limit_bytes: int) -> bool:
    """Whether these processes hold more than this. Those that end meanwhile count as nothing.

    What each has resident is cheap to read and counts shared pages several times; only where that sum is too
    much the exact one is asked for, which costs the kernel a walk through all pages.
    """
    return sum(map(_resident_bytes, pids)) > limit_bytes and sum(map(_proportional_bytes, pids)) > limit_bytes


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE_BYTES
    return 0


def _proportional_bytes(pid: int) -> int:
    """A page that several processes share counts in parts.

    Whose pages may not be read counts with what is its own.
    """
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        return _own_bytes(pid)
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(b"Pss:")), 0)


def _own_bytes(pid: int) -> int:
    """Resident pages that are of no file: `statm` says resident and shared ones (proc(5))."""
    with contextlib.suppress(OSError):
        resident, shared = (_PROC / str(pid) / "statm").read_bytes().split()[1:3]
        return (int(resident) - int(shared)) * _PAGE_BYTES
    return 0
