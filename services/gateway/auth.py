"""From the Authorization header to a caller.

Form and checksum are checked before anything is looked up. Answers are kept for a few seconds, so a revoked
token works at most that long in other gateways, and not at all here.
"""

import time
from collections import OrderedDict

from services.gateway.people import Caller
from services.gateway.problems import unauthorized
from services.gateway.store import GatewayStore
from shared.crypto import hash_token, token_is_wellformed

KEPT_SECONDS = 3.0
MOST_KEPT = 10_000
LONGEST_HEADER = 200


class Callers:
    """Who is behind a token."""

    def __init__(self, store: GatewayStore) -> None:
        self._store = store
        self._kept: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def caller(self, authorization: str | None) -> Caller:
        """Raises Problem 401 for a token that is missing, malformed, unknown, expired or revoked; Transient
        while the record is away.
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
        """After a change of users or tokens."""
        self._kept.clear()


def _token(authorization: str | None) -> str:
    if authorization is None or len(authorization) > LONGEST_HEADER:
        raise unauthorized()
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token_is_wellformed(token.strip()):
        raise unauthorized()
    return token.strip()
