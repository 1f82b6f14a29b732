"""Supervisors as an executor sees them: alive or not, exactly, and told of their end by the kernel.

Nothing is polled.

A supervisor is (pid, start time); its pidfd is opened first and the start time compared then, so that the
descriptor can only be its own.
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
        os.kill(
            identity.supervisor_pid, 0
        )  # of the dead the kernel knows this at once; looking for them in /proc costs it a millisecond
    except ProcessLookupError:
        return False
    except (
        PermissionError
    ):  # somebody else's: it has the pid again, or it is a supervisor of an executor with more rights
        pass
    return start_time(identity.supervisor_pid) == identity.supervisor_start_time


def allow_many_descriptors() -> None:
    """One for each live pod: raises the soft limit to the hard one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Watch:
    """The line to supervisors: signals go there, and `ended` is called once for each that was added, when it
    is gone.
    """

    def __init__(self, ended: Callable[[int], None]) -> None:
        self._ended = ended
        self._descriptors: dict[str, int] = {}

    def add(self, identity: Identity) -> None:
        """Safe to repeat."""
        if identity.uid in self._descriptors:
            return
        descriptor = _open(identity)
        if descriptor is None:
            self._ended(identity.attempt_id)
            return
        self._descriptors[identity.uid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._hear, identity)

    def tell(self, identity: Identity, number: signal.Signals) -> None:
        """Send this supervisor a signal; nobody else can get it, and one that is gone needs none."""
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
