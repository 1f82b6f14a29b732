"""Reads events and decisions, which the scheduler stores, and clusters, which executors register."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from services.gateway.people import Caller
from shared.database.store import Work


class HistoryWork(Work):
    async def events(
        self, caller: Caller, before: int, limit: int, filters: Sequence[Any]
    ) -> list[asyncpg.Record]:
        """Return the newest events.

        `filters` is (kind, repository ids, branch, sha, pull request, received after, received before).
        """
        return await self._rows("list_events", caller.user_id, caller.is_admin, before, limit, *filters)

    async def event(self, event_id: int, caller: Caller) -> asyncpg.Record | None:
        return await self._row("one_event", event_id, caller.user_id, caller.is_admin)

    async def clusters(self) -> list[asyncpg.Record]:
        return await self._rows("clusters")

    async def decisions(self, event_id: int, caller: Caller) -> list[asyncpg.Record]:
        return await self._rows("event_decisions", event_id, caller.user_id, caller.is_admin)
