"""Keeps the secrets of repositories' own hooks in memory, so that they can be verified without Postgres.

The secrets are read again after a change through this gateway, and every `hook_secrets_seconds` for changes
through other gateways.
"""

import asyncio
import secrets
from dataclasses import dataclass

import structlog

from services.gateway.store import GatewayStore
from shared.crypto import DecryptionFailed, Keyring
from shared.errors import Transient

_log = structlog.get_logger()

FIRST_TRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Hook:
    """A repository with its own webhook secret."""

    forge: str
    forge_id: int | None
    full_name: str
    secret: bytes


NOBODY = Hook("", None, "", secrets.token_bytes(32))
"""The hook used for an unknown key, so that refusing it takes as long as refusing a wrong signature."""


class HookSecrets:
    """The hooks of all repositories by hook key."""

    def __init__(self, store: GatewayStore, keyring: Keyring | None, every_seconds: float) -> None:
        self._store = store
        self._keyring = keyring
        self._every_seconds = every_seconds
        self._hooks: dict[str, Hook] | None = None
        self._refreshing = asyncio.Lock()

    @property
    def is_loaded(self) -> bool:
        """True after the first successful read.

        Stays False in a gateway that was started while Postgres was unavailable, until Postgres is back.
        """
        return self._hooks is not None

    def hook(self, forge: str, hook_key: str) -> Hook:
        """Return the hook with this key, or `NOBODY` if there is none at this forge."""
        found = (self._hooks or {}).get(hook_key, NOBODY)
        return found if found.forge == forge else NOBODY

    async def refresh(self) -> None:
        """Read all hooks. Raises Transient if Postgres is unavailable; the hooks read before stay in use."""
        async with self._refreshing:  # one at a time, so that an older result cannot replace a newer one
            async with self._store.reading() as work:
                rows = await work.hook_secrets()
            hooks = {}
            for row in rows:
                secret = self._opened(row["id"], row["webhook_secret"])
                if secret is not None:
                    hooks[row["hook_key"]] = Hook(row["forge"], row["forge_id"], row["full_name"], secret)
            self._hooks = hooks

    async def changed(self) -> None:
        """Read the hooks again after a committed change.

        Does not fail if Postgres is unavailable. The next periodic refresh reads the change.
        """
        try:
            await self.refresh()
        except Transient as error:
            _log.info("hook_secrets_not_refreshed", why=str(error))

    def _opened(self, repository_id: int, stored: bytes) -> bytes | None:
        if self._keyring is None:
            return None
        try:
            return self._keyring.decrypt(
                stored, table="repositories", column="webhook_secret", row=repository_id
            )
        except DecryptionFailed as error:
            _log.error("webhook_secret_unreadable", repository_id=repository_id, why=str(error))
            return None

    async def run(self) -> None:
        while True:
            await self.changed()
            await asyncio.sleep(self._every_seconds if self.is_loaded else FIRST_TRY_SECONDS)
