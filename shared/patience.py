"""How long to wait before trying again."""

import random


def backoff(failures: int, *, first: float = 0.1, most: float = 5.0) -> float:
    """Seconds to wait after so many failures in a row: doubling, with jitter so that many waiters do not come
    back together.
    """
    jitter = random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
    return min(most, first * 2.0 ** min(failures - 1, 16)) * jitter
