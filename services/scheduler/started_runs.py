"""The part of the store about runs that users start: their events, and the refs that executors resolve."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.scheduler.started_events import Resolved, Subject
from shared.database.store import Work
from shared.events import Event

_RESOLVED = (
    "inputs",
    "pipeline_config_id",
    "repository_id",
    "command_id",
    "traceparent",
    "triggered_by",
    "outcome",
    "resolved_sha",
    "resolved_message",
)


class StartedRunsWork(Work):
    """The statements about events without a delivery, in one transaction."""

    async def lock_starts(self, command_ids: Iterable[int]) -> None:
        """Prevents other transactions from applying those of these commands that start a run."""
        await self._rows("lock_starts", list(command_ids))

    async def subject(self, pipeline_config_id: int, repository_id: int) -> Subject | None:
        row = await self._row("subject", pipeline_config_id, repository_id)
        return None if row is None else Subject(**{**row, "names": tuple(dict.fromkeys(row["names"]))})

    async def insert_event(self, event: dict[str, Any]) -> int | None:
        """Stores an event without a delivery. Returns None if it is stored already."""
        event_id: int | None = await self._value("insert_event", event)
        return event_id

    async def insert_ref_request(self, event_id: int, cluster: str, ref: str | None, sha: str | None) -> None:
        await self._run("insert_ref_request", event_id, cluster, ref, sha)

    async def lock_resolved(self, event_ids: Iterable[int]) -> list[Resolved]:
        """Locks the requests of those of these events that can be decided; returns the events."""
        return [
            Resolved(
                event_id=row["id"],
                event=Event.from_row(dict(row)),
                **{name: row[name] for name in _RESOLVED},
            )
            for row in await self._rows("lock_resolved", list(event_ids))
        ]

    async def close_ref_request(self, event_id: int, sha: str | None) -> None:
        """Marks the request as decided, and sets the event's commit."""
        await self._run("close_ref_request", event_id, sha)

    async def resolved_not_decided(self, *, age_seconds: float) -> list[int]:
        return [row["event_id"] for row in await self._rows("resolved_not_decided", age_seconds)]

    async def now(self) -> datetime:
        """Returns the time of the database's clock."""
        now: datetime = await self._value("now")
        return now
