"""The tables of secrets, and the encryption of all stored values."""

from collections.abc import Sequence
from typing import NamedTuple

import asyncpg

from shared.database.store import Work


class StoredValue(NamedTuple):
    """A stored value with its table, column and row."""

    table: str
    column: str
    row: int
    encrypted: bytes


class SecretsWork(Work):
    """In all methods, the repository None is the installation."""

    async def secrets(self, repository_id: int | None, before: int, limit: int) -> list[asyncpg.Record]:
        return await self._rows("list_secrets", repository_id, before, limit)

    async def secret(self, repository_id: int | None, name: str) -> asyncpg.Record | None:
        """Return a secret, locked until the transaction ends."""
        return await self._row("one_secret", repository_id, name)

    async def count_secrets(self, repository_id: int) -> int:
        count: int = await self._value("count_secrets", repository_id)
        return count

    async def insert_secret(self, repository_id: int | None, name: str, user_id: int) -> int | None:
        """Return the id of the new secret, or None if there is one of this name."""
        secret_id: int | None = await self._value("insert_secret", repository_id, name, user_id)
        return secret_id

    async def next_secret_version(self) -> int:
        version_id: int = await self._value("next_secret_version")
        return version_id

    async def insert_secret_version(
        self, version_id: int, secret_id: int, encrypted: bytes, user_id: int
    ) -> None:
        await self._run("insert_secret_version", version_id, secret_id, encrypted, user_id)

    async def set_secret_repositories(
        self, secret_id: int, repositories: Sequence[int], user_id: int
    ) -> None:
        await self._run("set_secret_repositories", secret_id, list(repositories), user_id)

    async def delete_secret(self, repository_id: int | None, name: str, user_id: int) -> bool:
        return await self._value("delete_secret", repository_id, name, user_id) is not None

    async def known_repositories(self, ids: Sequence[int]) -> set[int]:
        return {row["id"] for row in await self._rows("known_repositories", list(ids))}

    async def delete_unused_versions(self, unchanged_seconds: float, most: int) -> int:
        return len(await self._rows("delete_unused_versions", unchanged_seconds, most))

    async def values_of_other_keys(self, key_id: str, most: int) -> list[StoredValue]:
        """Return stored values that another key than this one encrypts."""
        rows = await self._rows("values_of_other_keys", f"{key_id}:".encode(), most)
        return [StoredValue(row["place"], row["field"], row["id"], row["value"]) for row in rows]

    async def lock_values(self, values: Sequence[StoredValue]) -> None:
        """Lock the rows of these values in an order that prevents deadlocks."""
        versions = [one.row for one in values if one.table == "secret_versions"]
        repositories = [one.row for one in values if one.table == "repositories"]
        await self._value("lock_values", versions, repositories)

    async def reencrypt(self, value: StoredValue, encrypted: bytes) -> bool:
        """Store the same value, encrypted with another key, unless it has changed."""
        row = (value.row, value.encrypted, encrypted)
        match (value.table, value.column):
            case ("secret_versions", _):
                return await self._value("reencrypt_secret_version", *row) is not None
            case (_, "clone_token"):
                return await self._value("reencrypt_clone_token", *row) is not None
            case _:
                return await self._value("reencrypt_webhook_secret", *row) is not None

    async def count_values_by_key(self) -> dict[str, int]:
        return {row["key"]: row["count"] for row in await self._rows("count_values_by_key")}
