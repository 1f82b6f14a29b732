"""Loopback ports that are chosen once and kept in a file, so that addresses stay the same after a restart.

The ports are below the kernel's range for outgoing connections. A port of that range could be taken before
the server listens.
"""

import contextlib
import json
import secrets
import socket
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from devstack.errors import DevstackError
from devstack.settings import port_range

_given: deque[int] = deque(maxlen=200)
"""Ports that this process has chosen recently. Their servers may not listen yet."""


def kept_ports(path: Path, wanted: Mapping[str, int | None]) -> dict[str, int]:
    """Return a port for each name: the configured port, or else the kept one, or else a free one.

    A newly chosen port is written to the file.
    """
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    ports = dict(kept)
    for name, configured in wanted.items():
        ports[name] = configured or kept.get(name) or _free_port(set(ports.values()))
    if ports != kept:  # usually nothing is new, and there may be concurrent callers
        _write(path, ports)
    return {name: ports[name] for name in wanted}


def prefer_port(path: Path, name: str, port: int) -> None:
    """Keep this port for a name that has no port yet, if the port is free."""
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    if name not in kept and is_free(port):
        _write(path, {**kept, name: port})


def forget_port(path: Path, name: str) -> None:
    """Remove the port of this name, which another program uses. The next `kept_ports` chooses a new one."""
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    kept.pop(name, None)
    _write(path, kept)


def is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return True
    return False


def _free_port(taken: set[int]) -> int:
    lowest, highest = port_range()
    for _ in range(1000):
        port = lowest + secrets.randbelow(highest - lowest + 1)
        if port not in taken and port not in _given and is_free(port):
            _given.append(port)
            return port
    raise DevstackError(f"no free port on 127.0.0.1 between {lowest} and {highest}")


def _write(path: Path, ports: Mapping[str, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(ports, indent=2) + "\n")
    partial.replace(path)
