"""Reads events with what decisions depend on, to preview decisions. Nothing is written."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from services.gateway.people import Caller
from shared.database.store import Work
from shared.events import Event
from shared.matching import Circumstances
from shared.preview import Case


class Previewed(NamedTuple):
    """The pipeline of a preview: its owner, and its id if it is stored."""

    owner_id: int
    pipeline_id: int | None = None
    enabled: bool = True


class PreviewsWork(Work):
    async def preview_events(
        self,
        caller: Caller,
        pipeline: Previewed,
        event_ids: Sequence[int] | None,
        keys: Sequence[str],
        at_most: int,
    ) -> list[dict[str, Any]]:
        """Return these events, or the newest of the repositories with these keys. The newest comes first.

        Events that the caller may not see, and those of deleted repositories, are missing.
        """
        ids = None if event_ids is None else list(event_ids)
        who = (caller.user_id, caller.is_admin)
        pipe = (pipeline.owner_id, pipeline.pipeline_id)
        rows = await self._rows("preview_events", *who, *pipe, ids, list(keys), at_most)
        return [dict(row) for row in rows]


def case_of(row: Mapping[str, Any], owner_id: int, *, enabled: bool, forks_can_run: bool) -> Case:
    """Return an event's row with the columns of its circumstances as the case of one pipeline."""
    circumstances = Circumstances(
        repository_names=tuple(dict.fromkeys(row["names"])),
        owner_may_use=row["owner_may_use"],
        closed_at=row["closed_at"],
        enabled=enabled,
        forks_can_run=forks_can_run,
    )
    return Case(row["id"], owner_id, Event.from_row(row), circumstances, row["inputs"])
