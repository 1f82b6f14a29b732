"""Starts services by a fork instead of a start of Python, for tests that start many of them.

A start of Python takes about a second for the imports, which are the same each time. The program that runs is
the same: `services.X.__main__` with its own environment, session, output and pid. If the environment changes
Python, the dynamic loader or the import of modules, a new Python is started instead.
"""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

from devstack.errors import DevstackError
from devstack.processes import Command, PidFile, Process, tail
from devstack.stack import CHECKOUT, NewPrograms
from tests.harness.preloaded_server import PRELOADED, READY, ROOM

_ROOM_BYTES = 64 << 10
_START_SECONDS = 60
_AT_IMPORT = ("LD_PRELOAD", "PYTHONPATH", "TOWPATH_CRASHPOINT")


class PreloadedPrograms:
    """Starts programs by a fork.

    The server starts on first use. Methods block and are safe to call from threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._channel: socket.socket | None = None
        self._server: subprocess.Popen[bytes] | None = None

    def start(self, command: Command, pid_file: PidFile) -> Process:
        if not _is_preloaded(command):
            return NewPrograms().start(command, pid_file)
        process = Process.of(self._fork(command, command.log))
        if process is None:
            raise DevstackError(f"{' '.join(command.argv)} ended at once:\n{tail(command.log)}")
        pid_file.write(process)
        return process

    def run(self, command: Command) -> str:
        if not _is_preloaded(command):
            return NewPrograms().run(command)
        output = command.log.with_suffix(".output")
        pid = self._fork(command, output)
        with self._lock:
            status = int(self._ask(str(pid).encode()))
        printed = output.read_text(encoding="utf-8", errors="replace")
        output.unlink()
        if status != 0:
            raise DevstackError(f"{' '.join(command.argv)} failed:\n{printed}")
        return printed

    def _fork(self, command: Command, output: Path) -> int:
        request = {
            "module": command.argv[2],
            "directory": str(command.directory),
            "environment": json.dumps(dict(command.environment)),
        }
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("ab") as file, self._lock:
            return int(self._ask(json.dumps(request).encode(), file.fileno()))

    def _ask(self, request: bytes, *descriptors: int) -> bytes:
        if self._channel is None:
            self._channel, self._server = _start_server()
        socket.send_fds(self._channel, [request], descriptors)
        answer = self._channel.recv(64)
        if not answer:
            raise DevstackError("the server of preloaded programs is gone")
        return answer


def _is_preloaded(command: Command) -> bool:
    names = {command.argv[2], f"{command.argv[2]}.__main__"}
    return not names.isdisjoint(PRELOADED) and not any(command.environment.get(name) for name in _AT_IMPORT)


def _start_server() -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}
    with theirs:
        argv = [sys.executable, "-u", "-m", "tests.harness.preloaded_server", str(theirs.fileno())]
        server = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            env=environment | {ROOM: "x" * _ROOM_BYTES},
            cwd=CHECKOUT,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    ours.settimeout(_START_SECONDS)
    if ours.recv(64) != READY:
        raise DevstackError("the server of preloaded programs did not start")
    ours.settimeout(None)
    return ours, server
