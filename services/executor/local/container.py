"""Runs one container of a local pod: a process with all its descendants, its output, and its end.

After the main process has ended, all its descendants are killed. Only then is the output complete. Times are
those of the monotonic clock.
"""

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.executor.local.processes import Command, descendants, send, start
from services.executor.local.signal_pipe import SignalPipe
from services.executor.local.usage import uses_more

_CHUNK_BYTES = 64 << 10  # larger ones cost page faults instead of cache hits
_PIPE_BYTES = 1 << 20
_CHECK_SECONDS = 0.25
"""Interval between two checks of the memory that a container uses."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of a container. `deadline` is a time of the monotonic clock."""

    deadline: float
    grace_seconds: float
    stop_requested: Callable[[], bool]
    memory_bytes: int | None = None
    """Memory that all its processes may use together; None: it is not checked."""


@dataclass(frozen=True, slots=True)
class Ended:
    exit_code: int
    """128 + the signal's number if a signal ended it."""
    timed_out: bool
    stopped: bool
    out_of_memory: bool


def run_container(
    command: Command, limits: Limits, signal_pipe: SignalPipe, sink: Callable[[bytes], object]
) -> Ended:
    """Run the container to its end. Every byte of its output goes to `sink`, in order."""
    readable, writable = os.pipe2(os.O_CLOEXEC)
    with contextlib.suppress(OSError):  # more than the user's limit on pipe memory
        fcntl.fcntl(readable, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    os.set_blocking(readable, False)
    os.fchmod(writable, 0o622)  # its user may reopen it by name (/dev/stdout), but only to write
    main = start(command, writable)
    os.close(writable)
    container = _Container(main, readable, limits, sink)
    # Bubblewrap itself gets no SIGTERM: its end would end the namespace, and with it the grace period.
    spared = {main} if command.runner.prefix else set()
    try:
        try:
            exit_code = container.watch(signal_pipe, spared)
        finally:
            # also if its output could not be stored (the disk is full): nothing may run unobserved
            container.end_descendants()
        container.copy_rest()
    finally:
        os.close(readable)
    return Ended(exit_code, container.timed_out, container.stopped, container.out_of_memory)


class _Container:
    def __init__(self, main: int, output: int, limits: Limits, sink: Callable[[bytes], object]) -> None:
        self._main = main
        self._output = output
        self._limits = limits
        self._sink = sink
        self._kill_at: float | None = None
        self._examine = 0.0
        self._exit_code: int | None = None
        self.out_of_memory = False
        self.timed_out = False
        self.stopped = False

    def watch(self, signal_pipe: SignalPipe, spared: set[int]) -> int:
        """Wait until the main process has ended, and return its exit code. `spared` get no SIGTERM."""
        poll = select.poll()
        poll.register(signal_pipe.descriptor, select.POLLIN)
        poll.register(self._output, select.POLLIN)
        while self._exit_code is None:
            woken = False
            for descriptor, _ in poll.poll(max(0.0, self._next_instant() - time.monotonic()) * 1000 + 1):
                if descriptor == signal_pipe.descriptor:
                    woken = True
                    signal_pipe.forget()
                elif not self._copy():
                    poll.unregister(self._output)
            if woken:
                self._reap()
            if self._exit_code is None and (woken or time.monotonic() >= self._next_instant()):
                self._keep_time(spared)
                self._check_memory()
        return self._exit_code

    def end_descendants(self) -> None:
        """Kill until no descendant is left. A process that was forking is found in the next round.

        Without a child there is no descendant, because orphans become children of this process.
        """
        with contextlib.suppress(ChildProcessError):
            self._note(*os.waitpid(-1, os.WNOHANG))
            while True:
                send(descendants(os.getpid()), signal.SIGKILL)
                self._note(*os.waitpid(-1, 0))

    def copy_rest(self) -> None:
        # A process outside the container may hold the descriptor. It is not waited for.
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._output, _CHUNK_BYTES):
                self._sink(chunk)

    def _copy(self) -> bool:
        """Copy a chunk of the output. Returns False if all writers have closed it."""
        try:
            chunk = os.read(self._output, _CHUNK_BYTES)
        except BlockingIOError:
            return True
        if chunk:
            self._sink(chunk)
        return bool(chunk)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self._note(pid, status)

    def _note(self, pid: int, status: int) -> None:
        if pid == self._main:
            code = os.waitstatus_to_exitcode(status)
            self._exit_code = code if code >= 0 else 128 - code

    def _next_instant(self) -> float:
        instant = self._limits.deadline if self._kill_at is None else self._kill_at
        return instant if self._limits.memory_bytes is None else min(instant, self._examine)

    def _keep_time(self, spared: set[int]) -> None:
        now = time.monotonic()
        if self._kill_at is None:
            self.stopped = self._limits.stop_requested()
            self.timed_out = not self.stopped and now >= self._limits.deadline
            if self.stopped or self.timed_out:
                self._kill_at = now + self._limits.grace_seconds
                send([pid for pid in descendants(os.getpid()) if pid not in spared], signal.SIGTERM)
        elif now >= self._kill_at:
            send(descendants(os.getpid()), signal.SIGKILL)
            self._kill_at = now + 1  # repeat, for a process that was forking

    def _check_memory(self) -> None:
        """Check the memory, and kill all processes if they use too much, as the kernel does in a container.

        This includes the processes that the main process waits for.
        """
        now = time.monotonic()
        if self._limits.memory_bytes is None or now < self._examine:
            return
        self._examine = now + _CHECK_SECONDS
        processes = descendants(os.getpid())
        if uses_more(processes, self._limits.memory_bytes):
            self.out_of_memory = True
            send(processes, signal.SIGKILL)
