"""Records which answers of which routes the end-to-end tests have received.

A test claims answers with `covers`, and fails if its clients did not receive them, so each claim is true.
`tests/e2e/test_routes.py` finds routes and documented statuses that no test claims.
"""

import functools
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from tests.harness.client import answered

P = ParamSpec("P")

CLAIMS: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
"""The tests that received an answer, by route (`GET /runs/{id}`) and status."""


def covers(*claims: str) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, Awaitable[None]]]:
    """Claim that the test receives these answers. A claim is `GET /runs/{id} 200 404`."""
    wanted = [claim for text in claims for claim in _parsed(text)]

    def decorate(test: Callable[P, Awaitable[None]]) -> Callable[P, Awaitable[None]]:
        for claim in wanted:
            CLAIMS[claim].add(f"{test.__module__}.{test.__name__}")

        @functools.wraps(test)
        async def checked(*args: P.args, **kwargs: P.kwargs) -> None:
            with answers() as seen:
                await test(*args, **kwargs)
            missing = [f"{route} {status}" for route, status in wanted if not _has_seen(seen, route, status)]
            assert not missing, f"claimed, but not seen: {missing}"

        return checked

    return decorate


@contextmanager
def answers() -> Iterator[list[tuple[str, str, int]]]:
    """Record every answer within the block, also for the blocks around it."""
    around = answered.get()
    seen: list[tuple[str, str, int]] = []
    token = answered.set(seen)
    try:
        yield seen
    finally:
        answered.reset(token)
        if around is not None:
            around.extend(seen)


def _parsed(claim: str) -> list[tuple[str, int]]:
    method, path, *statuses = claim.split()
    return [(f"{method} {path}", int(status)) for status in statuses]


def _has_seen(seen: list[tuple[str, str, int]], route: str, status: int) -> bool:
    method, _, path = route.partition(" ")
    pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
    return any(
        its_method == method and its_status == status and pattern.fullmatch(its_path)
        for its_method, its_path, its_status in seen
    )
