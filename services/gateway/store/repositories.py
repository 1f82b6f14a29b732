"""The tables of repositories, their secrets, and grants."""

from typing import Any, NamedTuple

import asyncpg

from services.gateway.people import Caller
from shared.database.store import Work


class NewRepository(NamedTuple):
    """The columns of a new repository, in the order of its statement."""

    forge: str
    forge_id: int | None
    full_name: str
    clone_url: str
    hook_key: str
    created_by: int


class RepositoryChange(NamedTuple):
    """The changes to a repository. None leaves a column as it is."""

    full_name: str | None = None
    clone_url: str | None = None
    forge_id: int | None = None
    hook_target_type: str | None = None


class AlreadyRegistered(Exception):
    """Another repository has this name or this forge id."""


class RepositoriesWork(Work):
    async def insert_repository(self, repository: NewRepository) -> int:
        """Raises AlreadyRegistered."""
        repository_id: int | None = await self._value("insert_repository", *repository)
        if repository_id is None:
            raise AlreadyRegistered
        return repository_id

    async def set_webhook_secret(self, repository_id: int, encrypted: bytes | None) -> None:
        await self._run("set_webhook_secret", repository_id, encrypted)

    async def set_clone_token(self, repository_id: int, encrypted: bytes | None) -> None:
        await self._run("set_clone_token", repository_id, encrypted)

    async def repository(self, repository_id: int, caller: Caller) -> asyncpg.Record | None:
        """Return a repository with the caller's `role`.

        The role is maintainer, viewer, or None for an administrator without a grant.
        """
        return await self._row("one_repository", repository_id, caller.user_id, caller.is_admin)

    async def lock_repository(self, repository_id: int) -> asyncpg.Record | None:
        return await self._row("lock_repository", repository_id)

    async def repositories(
        self, caller: Caller, before: int, limit: int, full_name: str | None, forge: str | None
    ) -> list[asyncpg.Record]:
        return await self._rows(
            "list_repositories", caller.user_id, caller.is_admin, before, limit, full_name, forge
        )

    async def change_repository(self, repository_id: int, change: RepositoryChange) -> None:
        """Raises AlreadyRegistered."""
        try:
            await self._run("change_repository", repository_id, *change)
        except asyncpg.UniqueViolationError as error:
            raise AlreadyRegistered from error

    async def delete_repository(self, repository_id: int) -> bool:
        return await self._value("delete_repository", repository_id) is not None

    async def hook_secrets(self) -> list[asyncpg.Record]:
        return await self._rows("hook_secrets")

    async def grants(self, repository_id: int, before: int, limit: int) -> list[asyncpg.Record]:
        return await self._rows("list_grants", repository_id, before, limit)

    async def set_grant(self, repository_id: int, user_id: int, role: str) -> Any:
        """Create or change a grant and return it. Return None if there is no such user."""
        if await self._value("set_grant", repository_id, user_id, role) is None:
            return None
        return await self._row("one_grant", repository_id, user_id)

    async def delete_grant(self, repository_id: int, user_id: int) -> bool:
        return await self._value("delete_grant", repository_id, user_id) is not None
