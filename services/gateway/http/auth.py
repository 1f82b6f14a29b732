"""Finds the caller of a request from its Authorization header.

Form and checksum of a token are checked before the database is read. Results are cached for a few seconds. A
revoked token therefore works for at most that long in other gateways. The gateway that revokes it clears its
cache at once.
"""

import time
from collections import OrderedDict

from services.gateway.http.problems import unauthorized
from services.gateway.people import Caller
from services.gateway.store import GatewayStore
from shared.crypto import hash_token, token_is_wellformed

KEPT_SECONDS = 3.0
MOST_KEPT = 10_000
LONGEST_HEADER = 200


class Callers:
    """The callers of valid tokens, cached by the hash of the token."""

    def __init__(self, store: GatewayStore) -> None:
        self._store = store
        self._kept: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def caller(self, authorization: str | None) -> Caller:
        """Return the caller of a token.

        Raises Problem 401 if the token is missing, malformed, unknown, expired or revoked, and Transient
        while Postgres is unavailable.
        """
        token_hash = hash_token(_token(authorization))
        kept = self._kept.get(token_hash)
        if kept is not None and time.monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        async with self._store.reading() as work:
            caller = await work.caller(token_hash)
        if caller is None:
            self._kept.pop(token_hash, None)
            raise unauthorized("This token is not known, or no longer valid.")
        self._kept[token_hash] = (time.monotonic(), caller)
        self._kept.move_to_end(token_hash)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return caller

    def forget(self) -> None:
        """Clear the cache. Must be called after a change of users or tokens."""
        self._kept.clear()


def _token(authorization: str | None) -> str:
    if authorization is None or len(authorization) > LONGEST_HEADER:
        raise unauthorized()
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token_is_wellformed(token.strip()):
        raise unauthorized()
    return token.strip()
