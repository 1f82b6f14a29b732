"""Supervisors from an executor's view: checks that they are alive, and reports their end. Nothing is polled.

A supervisor is identified by (pid, start time). Its pidfd is opened before the start time is compared, so
that the descriptor can only be that of the supervisor. The kernel then reports the supervisor's end.
"""

import asyncio
import contextlib
import os
import resource
import signal
from collections.abc import Callable

from services.executor.local.pod_files import Identity
from services.executor.local.processes import start_time


def is_alive(identity: Identity) -> bool:
    try:
        # For a dead process, the kernel answers at once; to find it missing in /proc takes a millisecond.
        os.kill(identity.supervisor_pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # Another user's process has the pid, or an executor with more rights started the supervisor.
        pass
    return start_time(identity.supervisor_pid) == identity.supervisor_start_time


def allow_many_descriptors() -> None:
    """Raise the soft limit of descriptors to the hard one: each live pod takes a descriptor."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Watch:
    """Sends signals to supervisors, and calls `ended` once for each that was added, when it has ended."""

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended
        self._descriptors: dict[str, int] = {}

    def add(self, identity: Identity) -> None:
        """Watch this supervisor. Safe to repeat."""
        if identity.uid in self._descriptors:
            return
        descriptor = _open(identity)
        if descriptor is None:
            self._ended(identity.attempt_id)
            return
        self._descriptors[identity.uid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._hear, identity)

    def tell(self, identity: Identity, number: signal.Signals) -> None:
        """Send this supervisor a signal. No other process can get it. An ended supervisor is ignored."""
        watched = self._descriptors.get(identity.uid)
        descriptor = _open(identity) if watched is None else watched
        if descriptor is None:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, number)
        if watched is None:
            os.close(descriptor)

    def close(self) -> None:
        for descriptor in self._descriptors.values():
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
        self._descriptors.clear()

    def _hear(self, identity: Identity) -> None:
        descriptor = self._descriptors.pop(identity.uid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._ended(identity.attempt_id)


def _open(identity: Identity) -> int | None:
    try:
        descriptor = os.pidfd_open(identity.supervisor_pid)
    except ProcessLookupError:
        return None
    if is_alive(identity):
        return descriptor
    os.close(descriptor)
    return None
