"""Reads the audit log. `PeopleWork.audit` writes it."""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from shared.database.store import Work


class AuditFilters(NamedTuple):
    """The filters of the audit log, in the order of its statement. None matches any value."""

    user_id: int | None
    action: str | None
    """An action (`pipeline.created`), or the part before its dot for all actions of a kind."""
    object: str | None
    at_after: datetime | None
    at_before: datetime | None


class AuditWork(Work):
    async def list_audit(self, before: int, limit: int, filters: AuditFilters) -> list[asyncpg.Record]:
        return await self._rows("list_audit", before, limit, *filters)
