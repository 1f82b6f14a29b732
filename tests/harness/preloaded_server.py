"""`python -m tests.harness.preloaded_server DESCRIPTOR`: import all services, then fork for each program.

The descriptor is a socket of sequenced packets. There are two kinds of request:

- A JSON object with the program's module, directory and environment. The descriptor of its output comes with
  the packet. The answer is the id of the new process.
- The id of such a process. The answer is its exit status, once it has ended.

The server ends when the client closes the socket; the processes that it forked continue.
"""

import ctypes
import gc
import importlib
import json
import os
import runpy
import socket
import sys
from pathlib import Path

READY = b"ready"
PRELOADED = (
    *(f"services.{name}.__main__" for name in ("gateway", "scheduler", "executor", "logsink")),
    "services.executor.kubernetes.opening",
    "services.gateway.bootstrap",
    "shared.database.migrate",
)
ROOM = "TOWPATH_TEST_ROOM"
"""A long environment variable of the server. Its memory has room for the environment of each child.

Readers of /proc/PID/environ then see the child's environment.
"""
_REQUEST_BYTES = 128 << 10

_ended: dict[int, int] = {}
"""The exit status of each child that has ended, by its process id."""


def main() -> None:
    channel = socket.socket(fileno=int(sys.argv[1]))
    for name in PRELOADED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a garbage collection would write to pages that parent and children share
    channel.send(READY)
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, _REQUEST_BYTES, 1)
        if not request:
            return
        asked = json.loads(request)
        if isinstance(asked, int):
            channel.send(str(_exit_status(asked)).encode())
            continue
        _reap()
        pid = os.fork()
        if pid == 0:
            try:
                _become(asked, descriptors[0])
            finally:
                channel.send(str(os.getpid()).encode())  # /proc shows its own environment now
                channel.close()
            runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)
            return
        _ended.pop(pid, None)  # of an earlier child with the same id
        os.close(descriptors[0])


def _reap() -> None:
    """Record the children that have ended."""
    try:
        while (ended := os.waitpid(-1, os.WNOHANG)) != (0, 0):
            _ended[ended[0]] = os.waitstatus_to_exitcode(ended[1])
    except ChildProcessError:
        pass


def _exit_status(pid: int) -> int:
    return _ended.pop(pid) if pid in _ended else os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _become(asked: dict[str, str], output: int) -> None:
    """Turn this process into what `python -m MODULE` would be, in its own session."""
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(output)
    environment = json.loads(asked["environment"])
    os.environ.clear()
    os.environ.update(environment)
    _show(environment)
    os.chdir(asked["directory"])
    module = asked["module"]
    sys.argv = [module]
    for name in (module, f"{module}.__main__"):
        if name in PRELOADED:
            sys.modules.pop(name, None)


def _show(environment: dict[str, str]) -> None:
    """Write the environment between the two addresses from which /proc reads it.

    proc(5) lists these addresses under `stat`.
    """
    fields = Path("/proc/self/stat").read_text(errors="replace").rpartition(")")[2].split()
    start, end = int(fields[47]), int(fields[48])  # fields 50 and 51; field 3 has index 0 here
    text = b"\0".join(f"{name}={value}".encode() for name, value in environment.items())
    if len(text) >= end - start:
        raise ValueError(f"an environment of {len(text)} bytes has no room in {end - start}")
    ctypes.memmove(start, text.ljust(end - start, b"\0"), end - start)


if __name__ == "__main__":
    main()
