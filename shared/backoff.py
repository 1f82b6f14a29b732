"""The backoff between retries."""

import random


def backoff(failures: int, *, first: float = 0.1, most: float = 5.0) -> float:
    """Return the seconds to wait after this number of failures in a row.

    The time doubles with each failure, up to `most`. Random jitter keeps many waiters from retrying at the
    same time.
    """
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
    return min(most, first * 2.0 ** min(failures - 1, 16)) * jitter
