"""Named places at which a process may be told to die, to prove that dying there loses and doubles nothing.

They stand where two stores, or a store and the world, could disagree. Where nothing is armed, passing one is
a call that does nothing.
"""

import os
from collections.abc import Callable

from shared.settings import CrashpointSettings

EXIT_CODE = 137
"""What a shell says of a process that SIGKILL ended."""


def _ignore(_name: str) -> None:
    """Nothing is armed."""


def armed(setting: str, die: Callable[[str], None]) -> Callable[[str], None]:
    """A crash point for `name:n`: it dies at the n-th passage of that name. An empty setting arms nothing."""
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
    """At once: nothing is flushed, closed, handed back or told, as after SIGKILL. One line says where."""
    os.write(2, f"crashpoint {name}\n".encode())
    os._exit(EXIT_CODE)


crashpoint = armed(CrashpointSettings().crashpoint, _die)
"""`crashpoint("scheduler.decided")`.

The name is a literal: a test reads all of them from the source and walks them.
"""
