"""Waiting for what becomes of a command: woken by the scheduler's message, and by looking."""

import asyncio
from collections.abc import Iterable
from typing import Any

from services.gateway.people import Caller
from services.gateway.store import GatewayStore

LOOK_SECONDS = 0.25
WAIT_SECONDS = 2.0


class Effects:
    """Requests that wait for their command's effect."""

    def __init__(self, store: GatewayStore) -> None:
        self._store = store
        self._waiting: dict[int, set[asyncio.Event]] = {}

    def applied(self, command_ids: Iterable[int]) -> None:
        """These commands have their effect."""
        for command_id in command_ids:
            for event in self._waiting.get(command_id, ()):
                event.set()

    async def wait(self, command_id: int, caller: Caller) -> Any:
        """The command's row with its effect, or without one when it takes longer than a request may wait."""
        event = asyncio.Event()
        self._waiting.setdefault(command_id, set()).add(event)
        try:
            return await self._look_until_applied(command_id, caller, event)
        finally:
            self._waiting[command_id].discard(event)
            if not self._waiting[command_id]:
                del self._waiting[command_id]

    async def _look_until_applied(self, command_id: int, caller: Caller, event: asyncio.Event) -> Any:
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
                async with asyncio.timeout(min(LOOK_SECONDS, left)):
                    await event.wait()
            except TimeoutError:
                continue
