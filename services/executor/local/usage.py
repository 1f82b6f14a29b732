"""Measures the memory that processes use together. Each page counts once, as for a container."""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_PROC = Path("/proc")
_PAGE_BYTES = os.sysconf("SC_PAGESIZE")
_KIB = 1024


def uses_more(pids: Sequence[int], limit_bytes: int) -> bool:
    """Return whether these processes use more memory than this. A process that has ended counts as 0.

    Resident sizes are cheap to read, but count shared pages several times. Only if their sum is too large is
    the exact sum read, for which the kernel walks through all pages.
    """
    return sum(map(_resident_bytes, pids)) > limit_bytes and sum(map(_proportional_bytes, pids)) > limit_bytes


def _resident_bytes(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int((_PROC / str(pid) / "statm").read_bytes().split()[1]) * _PAGE_BYTES
    return 0


def _proportional_bytes(pid: int) -> int:
    """Return the size of a process in which each shared page counts only in part.

    If it may not be read, the result is the size of the process's own pages.
    """
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_bytes().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    except OSError:
        return _own_bytes(pid)
    return next((int(line.split()[1]) * _KIB for line in lines if line.startswith(b"Pss:")), 0)


def _own_bytes(pid: int) -> int:
    """Return the size of resident pages that belong to no file: resident minus shared in `statm`
    (proc(5)).
    """
    with contextlib.suppress(OSError):
        resident, shared = (_PROC / str(pid) / "statm").read_bytes().split()[1:3]
        return (int(resident) - int(shared)) * _PAGE_BYTES
    return 0
