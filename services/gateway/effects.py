"""Lets a request wait for the effect of its command.

The request is woken by the scheduler's message `command.applied`. It also reads the command's row every
`CHECK_SECONDS`, so a lost message only delays it.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from services.gateway.people import Caller
from services.gateway.store import GatewayStore

CHECK_SECONDS = 0.25
WAIT_SECONDS = 2.0


class Effects:
    """The requests that wait for the effect of a command."""

    def __init__(self, store: GatewayStore) -> None:
        self._store = store
        self._waiting: dict[int, set[asyncio.Event]] = {}

    def applied(self, command_ids: Iterable[int]) -> None:
        """Wake the requests that wait for these commands."""
        for command_id in command_ids:
            for event in self._waiting.get(command_id, ()):
                event.set()

    async def wait(self, command_id: int, caller: Caller) -> Any:
        """Return the command's row, with its effect if that is stored within `WAIT_SECONDS`.

        Returns None if the caller may not see the command.
        """
        event = asyncio.Event()
        self._waiting.setdefault(command_id, set()).add(event)
        try:
            return await self._check_until_applied(command_id, caller, event)
        finally:
            self._waiting[command_id].discard(event)
            if not self._waiting[command_id]:
                del self._waiting[command_id]

    async def _check_until_applied(self, command_id: int, caller: Caller, event: asyncio.Event) -> Any:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT_SECONDS
        while True:
            event.clear()
            async with self._store.reading() as work:
                command = await work.command(command_id, caller)
            left = deadline - loop.time()
            if command is None or command["outcome"] is not None or left <= 0:
                return command
            try:
                async with asyncio.timeout(min(CHECK_SECONDS, left)):
                    await event.wait()
            except TimeoutError:
                continue
