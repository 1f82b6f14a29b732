"""The tables of pipelines and their revisions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.gateway.people import Caller
from shared.database.store import Work
from shared.pipeline import globs


@dataclass(frozen=True, slots=True)
class Definition:
    """A YAML text and the pipeline that was read from it."""

    yaml_config: str
    model: dict[str, Any]
    repository_keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class Naming:
    """The name and description of a pipeline, and whether it is enabled."""

    name: str
    description: str
    enabled: bool


class PipelinesWork(Work):
    async def insert_pipeline(self, naming: Naming, definition: Definition, owner: int) -> int | None:
        """Add a pipeline with its first revision. Return None if the owner has one with that name."""
        columns = (
            naming.name,
            naming.description,
            definition.yaml_config,
            list(definition.repository_keys),
            naming.enabled,
        )
        row = await self._row("insert_pipeline", *columns, owner)
        if row is None:
            return None
        pipeline_id: int = row["id"]
        await self._run(
            "insert_revision", pipeline_id, row["revision"], definition.yaml_config, definition.model, owner
        )
        return pipeline_id

    async def usable_repositories(self, user_id: int, named: Sequence[str]) -> list[str]:
        """Return the names of repositories for which a user's pipelines may run.

        Repositories that `named` can match come first. At most 2000 repositories are read, so some of the
        others may be missing.
        """
        keys = globs.repository_keys(named)
        rows = await self._rows(
            "usable_repositories",
            user_id,
            list(keys),
            [key.removesuffix("/") for key in keys if key.endswith("/")],
        )
        return [
            name
            for row in rows
            for name in dict.fromkeys((row["full_name"], row["current_name"]))
            if name is not None
        ]

    async def pipeline(self, pipeline_id: int, caller: Caller) -> asyncpg.Record | None:
        return await self._row("one_pipeline", pipeline_id, caller.user_id, caller.is_admin)

    async def lock_pipeline(self, pipeline_id: int, caller: Caller) -> asyncpg.Record | None:
        """Return the pipeline like `pipeline`, locked until the transaction ends."""
        return await self._row("lock_pipeline", pipeline_id, caller.user_id, caller.is_admin)

    async def pipelines(
        self, caller: Caller, before: int, limit: int, name: str | None
    ) -> list[asyncpg.Record]:
        return await self._rows("list_pipelines", caller.user_id, caller.is_admin, before, limit, name)

    async def change_pipeline(
        self, pipeline: asyncpg.Record, naming: Naming, definition: Definition | None, user_id: int
    ) -> None:
        """Change a pipeline that the caller has locked. A definition adds a revision. Raises NameTaken."""
        yaml_config = definition.yaml_config if definition else pipeline["yaml_config"]
        keys = list(definition.repository_keys) if definition else None
        try:
            await self._run(
                "change_pipeline",
                pipeline["id"],
                naming.name,
                naming.description,
                yaml_config,
                keys,
                naming.enabled,
            )
        except asyncpg.UniqueViolationError as error:
            raise NameTaken from error
        if definition:
            await self._run(
                "insert_revision",
                pipeline["id"],
                pipeline["revision"] + 1,
                yaml_config,
                definition.model,
                user_id,
            )

    async def delete_pipeline(self, pipeline_id: int) -> None:
        await self._run("delete_pipeline", pipeline_id)

    async def revisions(self, pipeline_id: int, before: int, limit: int) -> list[asyncpg.Record]:
        return await self._rows("list_revisions", pipeline_id, before, limit)


class NameTaken(Exception):
    """The owner has another pipeline of this name."""
