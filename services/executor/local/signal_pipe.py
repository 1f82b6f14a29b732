"""The signal pipe of a supervisor: SIGUSR1 and SIGCHLD arrive as bytes that can be polled.

SIGUSR1 asks the supervisor to check the files of its pod.
"""

import contextlib
import os
import select
import signal

HEARD = (signal.SIGUSR1, signal.SIGCHLD)


class SignalPipe:
    """The signal pipe, one per process. Create it while HEARD is blocked, so that no signal is lost."""

    def __init__(self) -> None:
        self.descriptor, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Wait for a signal. Returns False if none arrived in this time."""
        came = bool(self._poll.poll(max(0.0, seconds) * 1000))
        if came:
            self.forget()
        return came

    def forget(self) -> None:
        """Discard the bytes of signals that are being handled now."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 512):
                pass
