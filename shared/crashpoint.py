"""Crash points: named places where tests end a process, to prove that a crash loses or duplicates nothing.

They are located where two stores, or a store and the outside world, could disagree. If none is armed, a crash
point is a call that does nothing.
"""

import os
from collections.abc import Callable

from shared.settings import CrashpointSettings

EXIT_CODE = 137
"""The exit code that a shell reports for a process that was ended by SIGKILL."""


def _ignore(_name: str) -> None:
    """Do nothing, because no crash point is armed."""


def armed(setting: str, die: Callable[[str], None]) -> Callable[[str], None]:
    """Return a crash point function for `name:n`, which calls `die` when that name is passed the n-th time.

    An empty setting arms nothing.
    """
    if not setting:
        return _ignore
    wanted, _, count = setting.partition(":")
    left = int(count or 1)

    def passed(name: str) -> None:
        nonlocal left
        if name == wanted:
            left -= 1
            if left == 0:
                die(name)

    return passed


def _die(name: str) -> None:
    """Write one line with the name, and end the process at once.

    As after SIGKILL, nothing is flushed, closed or returned.
    """
    os.write(2, f"crashpoint {name}\n".encode())
    os._exit(EXIT_CODE)


crashpoint = armed(CrashpointSettings().crashpoint, _die)
"""Call it as `crashpoint("scheduler.decided")`.

The name must be a literal: a test reads all names from the source and runs each of them.
"""
