"""Reads what the dashboard shows beside the API's own objects."""

from collections.abc import Sequence
from typing import Any

from services.gateway.http.fields import instant_text
from shared.database.store import Work

_INSTANTS = ("created_at", "started_at", "finished_at")


class OverviewWork(Work):
    async def last_runs(self, pipeline_ids: Sequence[int], limit: int) -> dict[int, list[dict[str, Any]]]:
        """Return the newest runs of each pipeline, newest first, with instants as the API writes them.

        The caller must have checked that the user may see the pipelines.
        """
        found: dict[int, list[dict[str, Any]]] = {}
        for row in await self._rows("last_runs", list(pipeline_ids), limit):
            run = dict(row) | {name: row[name] and instant_text(row[name]) for name in _INSTANTS}
            found.setdefault(row["pipeline_config_id"], []).append(run)
        return found

    async def pipeline_repositories(self, pipeline_ids: Sequence[int]) -> dict[int, list[str]]:
        """Return the names of the repositories that each pipeline names."""
        rows = await self._rows("pipeline_repositories", list(pipeline_ids))
        return {row["id"]: list(row["repositories"] or []) for row in rows}
