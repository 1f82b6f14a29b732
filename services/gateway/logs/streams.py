"""Limits the number of live streams and log downloads, for each user and in total.

Each of them holds a connection.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from services.gateway.http.problems import Problem

_SCARCE = 0.75
"""The fraction of all streams from which each user's limit is reduced to a tenth.

So a few users cannot use up all streams.
"""


class Streams:
    """The open streams of this gateway."""

    def __init__(self, limit: int, user_limit: int) -> None:
        self._limit = limit
        self._user_limit = user_limit
        self._of_user: Counter[int] = Counter()

    @property
    def count(self) -> int:
        return self._of_user.total()

    @contextmanager
    def opened(self, user_id: int) -> Iterator[None]:
        """Count one more stream of this user until the block ends.

        Raises Problem 429 if the user has too many, or 503 if all users together have too many.
        """
        self._check(user_id)
        self._of_user[user_id] += 1
        try:
            yield
        finally:
            self._of_user[user_id] -= 1
            if not self._of_user[user_id]:
                del self._of_user[user_id]

    def _check(self, user_id: int) -> None:
        count, own = self.count, self._of_user[user_id]  # reading a missing key of a Counter does not add it
        if count >= self._limit:
            raise _too_many(
                503, f"This gateway serves {self._limit} streams of logs at once (TOWPATH_LIVE_STREAMS)."
            )
        is_scarce = count >= self._limit * _SCARCE
        allowed = max(1, self._user_limit // 10) if is_scarce else self._user_limit
        if own >= allowed:
            why = " while most of them are in use" if is_scarce else ""
            limit = "TOWPATH_LIVE_STREAMS_PER_USER"
            raise _too_many(429, f"A user may have {allowed} streams of logs open at once{why} ({limit}).")


def _too_many(status: int, detail: str) -> Problem:
    return Problem(status, "too_many_streams", detail, headers={"Retry-After": "5"})
