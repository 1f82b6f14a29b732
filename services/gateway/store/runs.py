"""Reads runs, and stores the commands for them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from services.gateway.people import Caller
from shared.database.store import Work
from shared.messaging.messages import CommandRequested
from shared.tracing import current


class RunFilters(NamedTuple):
    """The filters of the list of runs, in the order of its statements. None matches any value."""

    status: str | None
    pipeline_config_id: int | None
    repository_ids: list[int] | None
    branch: str | None
    sha: str | None
    event: str | None
    created_after: datetime | None
    created_before: datetime | None
    started_after: datetime | None
    started_before: datetime | None
    finished_after: datetime | None
    finished_before: datetime | None


class RunsWork(Work):
    async def repository_ids(self, full_name: str) -> list[int]:
        return [row["id"] for row in await self._rows("repository_ids", full_name)]

    async def runs(
        self, caller: Caller, before: int, limit: int, filters: RunFilters
    ) -> list[asyncpg.Record]:
        """Return the newest runs. Needs a transaction, because it sets `plan_cache_mode` locally."""
        await self._run("plan_each_time")
        query = "newest_runs" if caller.is_admin else "newest_runs_of_user"
        return await self._rows(query, caller.user_id, caller.is_admin, before, limit, *filters)

    async def run(self, run_id: int, caller: Caller) -> asyncpg.Record | None:
        return await self._row("one_run", run_id, caller.user_id, caller.is_admin)

    async def jobs(self, run_id: int) -> list[asyncpg.Record]:
        return await self._rows("run_jobs", run_id)

    async def attempts(self, run_id: int) -> list[asyncpg.Record]:
        return await self._rows("run_attempts", run_id)

    async def transitions(self, run_id: int) -> list[asyncpg.Record]:
        return await self._rows("run_transitions", run_id)

    async def insert_command(
        self, kind: str, run_id: int, arguments: Mapping[str, Any], user_id: int, key: str | None
    ) -> int | None:
        """Add a command and its message, with the trace of the current unit of work.

        Return None if the user has used the idempotency key before.
        """
        command_id: int | None = await self._value(
            "insert_command", kind, run_id, dict(arguments), user_id, key, current()
        )
        if command_id is not None:
            self.send(CommandRequested(command_ids=(command_id,)))
        return command_id

    async def insert_start(
        self,
        pipeline_id: int,
        repository_id: int,
        arguments: Mapping[str, Any],
        user_id: int,
        key: str | None,
    ) -> int | None:
        """Add a command to start a run, and its message. Return None as `insert_command` does."""
        command_id: int | None = await self._value(
            "insert_start", pipeline_id, repository_id, dict(arguments), user_id, key, current()
        )
        if command_id is not None:
            self.send(CommandRequested(command_ids=(command_id,)))
        return command_id

    async def newest_model(self, pipeline_id: int) -> Any:
        return await self._value("newest_model", pipeline_id)

    async def repository_to_start(self, full_name: str, owner: int) -> int | None:
        repository_id: int | None = await self._value("repository_to_start", full_name, owner)
        return repository_id

    async def command_by_key(self, user_id: int, key: str) -> asyncpg.Record | None:
        return await self._row("command_by_key", user_id, key)

    async def command(self, command_id: int, caller: Caller) -> asyncpg.Record | None:
        return await self._row("one_command", command_id, caller.user_id, caller.is_admin)
