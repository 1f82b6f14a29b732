"""What wakes a supervisor: SIGUSR1 (look at your files) and SIGCHLD, as bytes in a pipe that can be
polled.
"""

import contextlib
import os
import select
import signal

HEARD = (signal.SIGUSR1, signal.SIGCHLD)


class Wakes:
    """Create it with HEARD blocked: what arrived before is heard then. One per process."""

    def __init__(self) -> None:
        self.descriptor, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        for number in HEARD:
            signal.signal(number, lambda *_: None)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HEARD)
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """False: nothing came in this time."""
        came = bool(self._poll.poll(max(0.0, seconds) * 1000))
        if came:
            self.forget()
        return came

    def forget(self) -> None:
        """What came is being looked at."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.descriptor, 512):
                pass
