"""Notifications to gateways that lines were stored.

A notification may be lost. Log views also check by themselves.
"""

import asyncio

import structlog

from services.logsink.store import Append
from shared.errors import Transient
from shared.messaging.bus import Bus
from shared.messaging.messages import LogAppended

_log = structlog.get_logger()


class Notifications:
    """Publishes notifications, and collects new ones meanwhile, so that a slow broker delays nothing."""

    name = "notifications"

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._next_lines: dict[tuple[int, int], int] = {}
        self._woken = asyncio.Event()

    def ring(self, append: Append) -> None:
        """Adds a notification about stored lines. Never waits."""
        if append.segments:
            self._next_lines[append.stream.id, append.stream.run_id] = append.position.next_line
            self._woken.set()

    async def run(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            appended, self._next_lines = self._next_lines, {}
            try:
                await self._bus.publish_transient(
                    LogAppended(appended=tuple((*ids, next_line) for ids, next_line in appended.items()))
                )
            except Transient as error:
                _log.debug("notification_lost", streams=len(appended), why=str(error))
