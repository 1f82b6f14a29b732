"""Processes that outlive their parent. Each has its own session and is identified by pid and start time.

A signal is sent only to a process whose start time matches the recorded one. A pid that the kernel has given
to another process is therefore never signalled.
"""

import contextlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import DevstackError
from devstack.settings import STACK_VARIABLE

POLL_SECONDS = 0.02

_children: dict[int, subprocess.Popen[bytes]] = {}
"""Child processes of this process. They must be waited for, or they stay as zombies."""


@dataclass(frozen=True)
class Process:
    """A pid and its start time, in clock ticks since the machine's start (field 22 of proc(5) `stat`)."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> "Process | None":
        """Return the live process with this pid, or None if there is none or only a zombie."""
        stat = _stat(pid)
        return None if stat is None else cls(pid, stat[1])

    def running(self) -> bool:
        is_live = Process.of(self.pid) == self
        child = _children.get(self.pid)
        # After the check above, so that a process that is reported as gone has been waited for.
        if child is not None and child.poll() is not None:
            del _children[self.pid]
        return is_live

    def send(self, number: signal.Signals) -> None:
        """Send a signal. Do nothing if the process has ended."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def send_group(self, number: signal.Signals) -> None:
        """Send a signal to the process group that this process leads."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)


@dataclass(frozen=True)
class Command:
    """A command for a new process.

    It runs as the user `account`, with that user's primary group and no other groups. None means the current
    user.
    """

    argv: Sequence[str]
    log: Path
    environment: Mapping[str, str]
    directory: Path | None = None
    account: str | None = None


@dataclass(frozen=True)
class PidFile:
    """A process recorded on disk. `path` holds only the pid, for people and scripts.

    The start time is in a second file beside it.
    """

    path: Path

    @property
    def _start_path(self) -> Path:
        return self.path.with_suffix(".started")

    def read(self) -> Process | None:
        """Return the recorded process if it is still running."""
        try:
            process = Process(int(self.path.read_text()), int(self._start_path.read_text()))
        except (FileNotFoundError, ValueError):
            return None
        return process if process.running() else None

    def write(self, process: Process) -> None:
        """Write the start time, then the pid. A pid without a start time counts as no process."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._start_path.write_text(f"{process.started_ticks}\n")
        self.path.write_text(f"{process.pid}\n")

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)
        self._start_path.unlink(missing_ok=True)


def start(command: Command, pid_file: PidFile) -> Process:
    """Start a process in its own session. Append its output to the log, and record its pid."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("ab") as log:
        child = subprocess.Popen(
            list(command.argv),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(command.environment),
            cwd=command.directory,
            start_new_session=True,
            user=command.account,
            group=None if command.account is None else pwd.getpwnam(command.account).pw_gid,
            extra_groups=None if command.account is None else [],
        )
    _children[child.pid] = child
    process = Process.of(child.pid)
    if process is None:
        raise DevstackError(f"{command.argv[0]} ended at once:\n{tail(command.log)}")
    pid_file.write(process)
    return process


def stop(
    processes: Iterable[Process], *, grace_seconds: float, first: signal.Signals = signal.SIGTERM
) -> list[Process]:
    """Send all processes the first signal, wait, kill the process groups of the rest, and return these.

    Safe to repeat. Returns when all have ended.
    """
    waiting = [process for process in processes if process.running()]
    for process in waiting:
        process.send(first)
        process.send(signal.SIGCONT)  # a stopped process handles no other signal
    if wait_until(lambda: not any(process.running() for process in waiting), grace_seconds):
        return []
    late = [process for process in waiting if process.running()]
    kill(late)
    return late


def kill(processes: Iterable[Process]) -> None:
    """Kill the processes and the process groups they lead. Return when all have ended."""
    waiting = [process for process in processes if process.running()]
    for process in waiting:
        process.send_group(signal.SIGKILL)
        process.send(signal.SIGKILL)
    if not wait_until(lambda: not any(process.running() for process in waiting), 10):
        raise DevstackError(
            "these processes do not end: "
            + ", ".join(str(process.pid) for process in waiting if process.running())
        )


def descendants(process: Process) -> list[Process]:
    """Return the live descendants of this process, in any session."""
    parents: dict[int, list[int]] = {}
    for pid in _pids():
        stat = _stat(pid)
        if stat is not None:
            parents.setdefault(stat[0], []).append(pid)
    found, rest = [], [process.pid]
    while rest:
        below = parents.get(rest.pop(), [])
        found += [child for child in (Process.of(pid) for pid in below) if child is not None]
        rest += below
    return found


def of_stack(directory: Path) -> list[Process]:
    """Return the live processes of stacks in this directory or below it, with their descendants.

    This process is not included.
    """
    found = []
    for pid in _pids():
        stack = _variable(pid, STACK_VARIABLE)
        process = Process.of(pid)
        if stack and process and pid != os.getpid() and Path(stack).is_relative_to(directory):
            found.append(process)
    return found


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Return True if the condition became true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log, indented for a message."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        return f"  (no log at {log})"
    return "\n".join(f"  {line}" for line in text.splitlines()[-lines:]) + f"\n  (whole log: {log})"


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _stat(pid: int) -> tuple[int, int] | None:
    """Return (parent's pid, start time), or None if the process is dead.

    A zombie counts as live while its other threads are ending, because they hold its sockets. The name in
    parentheses may contain any characters, so fields are counted from the last parenthesis.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    dead = fields[0] in "ZX" and int(fields[17]) <= 1
    return None if dead else (int(fields[1]), int(fields[19]))


def _variable(pid: int, name: str) -> str | None:
    """Return a variable of the environment with which a process was started, or None if it cannot be read."""
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    prefix = f"{name}=".encode()
    return next(
        (entry[len(prefix) :].decode(errors="replace") for entry in entries if entry.startswith(prefix)), None
    )
