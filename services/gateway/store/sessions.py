"""The tables of browser sessions and of links that sign a browser in."""

from datetime import datetime
from typing import Any, NamedTuple

import asyncpg

from services.gateway.people import Caller, Scope
from shared.database.store import Work

SESSION_DAYS = 30
"""The longest life of a session. A session that is not used for 12 hours ends too."""


class Session(NamedTuple):
    """A valid session and the caller that it acts as."""

    id: int
    caller: Caller


class SessionsWork(Work):
    async def insert_session(self, secret_hash: bytes, token_id: int, browser: str) -> int:
        return int(await self._value("insert_session", secret_hash, token_id, browser, SESSION_DAYS))

    async def session(self, secret_hash: bytes) -> Session | None:
        """Return a valid session. Also update the time of its last use if that is stale."""
        row = await self._row("session_by_hash", secret_hash)
        if row is None:
            return None
        if row["is_stale"]:
            await self._run("touch_session", row["session_id"])
        is_admin = row["is_admin"] and Scope.ADMIN.value in row["scopes"]
        caller = Caller(row["user_id"], row["name"], is_admin, frozenset(row["scopes"]), row["token_id"])
        return Session(row["session_id"], caller)

    async def end_session(self, session_id: int, user_id: int) -> bool:
        """End a session. Return False if the user has no such session."""
        return await self._value("end_session", session_id, user_id) is not None

    async def sessions(self, user_id: int) -> list[asyncpg.Record]:
        return await self._rows("sessions_of_user", user_id)

    async def insert_sign_in_link(
        self, secret_hash: bytes, token_id: int, path: str, seconds: int
    ) -> datetime:
        """Add a link and return when it expires."""
        at: Any = await self._value("insert_sign_in_link", secret_hash, token_id, path, seconds)
        assert isinstance(at, datetime)  # noqa: S101 - the type of the column
        return at

    async def take_sign_in_link(self, secret_hash: bytes) -> asyncpg.Record | None:
        """Use up a link. Return its `token_id`, `user_id` and `path`, or None if it does not work."""
        return await self._row("take_sign_in_link", secret_hash)

    async def forget_sessions(self, limit: int) -> int:
        """Delete old sessions and links, and return their number."""
        sessions = await self._run("forget_sessions", limit)
        return sessions + await self._run("forget_sign_in_links", limit)
