"""The tables of users, tokens and the audit log."""

from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from services.gateway.people import Caller, origin_of_request
from shared.database.store import Work
from shared.tracing import current


class NewToken(NamedTuple):
    """The columns of a new token, in the order of its statement."""

    user_id: int
    name: str
    prefix: str
    """The first characters of the token, by which people recognise it."""
    hash: bytes
    scopes: list[str]
    expires_at: datetime | None = None
    parent_id: int | None = None


class PeopleWork(Work):
    async def audit(
        self, user_id: int | None, action: str, what: str, details: dict[str, Any] | None = None
    ) -> None:
        """Add an entry to the audit log. `what` names the object, such as `pipeline:12`.

        `details` must not contain secrets. Token, address and trace are those of the current request.
        """
        origin = origin_of_request()
        await self._run(
            "insert_audit", user_id, action, what, details or {}, origin.token_id, origin.address, current()
        )

    async def caller(self, token_hash: bytes) -> Caller | None:
        """Return the caller of a valid token. Also update the time of the token's last use if it is stale."""
        row = await self._row("token_by_hash", token_hash)
        if row is None:
            return None
        if row["is_stale"]:
            await self._run("touch_token", row["token_id"])
        scopes = frozenset(row["scopes"])
        is_admin = row["is_admin"] and "admin" in scopes
        return Caller(row["user_id"], row["name"], is_admin, scopes, row["token_id"])

    async def insert_token(self, token: NewToken) -> asyncpg.Record:
        row = await self._row("insert_token", *token)
        assert row is not None  # noqa: S101 - INSERT … RETURNING gives its row
        return row

    async def hold_parent(self, token_id: int) -> asyncpg.Record | None:
        """Return the token with its `expires_at`, locked against revocation until the transaction ends.

        Returns None if the token, or one of the tokens it was created from, is revoked or expired.
        """
        line = await self._rows("hold_token_and_ancestors", token_id)
        if not line or not all(row["is_valid"] for row in line):
            return None
        return next(row for row in line if row["id"] == token_id)

    async def tokens(self, user_id: int, before: int, limit: int) -> list[asyncpg.Record]:
        return await self._rows("list_tokens", user_id, before, limit)

    async def revoke_token(self, token_id: int, user_id: int, *, or_anyones: bool) -> set[int] | None:
        """Revoke a token and all tokens created from it, and return their ids.

        Returns None if the user has no such token.
        """
        if await self._value("hold_token", token_id, user_id, or_anyones) is None:
            return None
        return {row["id"] for row in await self._rows("revoke_token_and_children", token_id)}

    async def count_of_user(self, user_id: int, thing: str) -> int:
        """Return the number of pipelines or valid tokens of a user.

        The user's row stays locked, so no other transaction can count them before this one ends.
        """
        await self._value("hold_user", user_id)
        row = await self._row("things_of_user", user_id)
        return 0 if row is None else int(row[thing])

    async def insert_user(self, name: str, email: str, *, is_admin: bool) -> asyncpg.Record | None:
        """Add a user. Return None if the e-mail address is in use."""
        return await self._row("insert_user", name, email, is_admin)

    async def user(self, user_id: int) -> asyncpg.Record | None:
        return await self._row("one_user", user_id)

    async def user_by_email(self, email: str) -> asyncpg.Record | None:
        return await self._row("user_by_email", email)

    async def users(self, before: int, limit: int) -> list[asyncpg.Record]:
        return await self._rows("list_users", before, limit)

    async def lock_admins(self) -> list[int]:
        return [row["id"] for row in await self._rows("lock_admins")]

    async def change_user(
        self, user_id: int, name: str | None, is_admin: bool | None, is_disabled: bool | None
    ) -> asyncpg.Record | None:
        return await self._row("change_user", user_id, name, is_admin, is_disabled)

    async def has_admin_under_lock(self) -> bool:
        """Return True if there is an active administrator. Only one bootstrap runs at a time.

        The lock is held until the transaction ends.
        """
        await self._run("bootstrap_lock")
        return await self._value("enabled_admin") is not None
