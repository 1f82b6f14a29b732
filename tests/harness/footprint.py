"""Memory and connections of a process, as Linux reports them."""

import contextlib
import re
from pathlib import Path

_ESTABLISHED = "01"


def memory_bytes(pid: int) -> tuple[int, int]:
    """Return the resident memory: the current value and the maximum so far."""
    text = Path(f"/proc/{pid}/status").read_text()
    now, most = (re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE) for name in ("VmRSS", "VmHWM"))
    assert now
    assert most
    return int(now[1]) << 10, int(most[1]) << 10


def connections(pid: int, port: int) -> int:
    """Return the number of established TCP connections to this port on any host."""
    files = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed in the meantime
            files.add(str(link.readlink()))
    rows = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]
    ]
    return sum(
        row[3] == _ESTABLISHED
        and int(row[2].rpartition(":")[2], 16) == port
        and f"socket:[{row[9]}]" in files
        for row in rows
    )
