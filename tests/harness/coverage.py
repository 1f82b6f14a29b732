"""Which answers of which routes the end-to-end tests have seen.

A test claims them with `covers`, and fails when its clients did not get them: the table says nothing that is
not so. A route or a documented status that no test claims is found by tests/e2e/test_routes.py.
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
"""By route (`GET /runs/{id}`) and status, the tests that have seen it."""


def covers(*claims: str) -> Callable[[Callable[P, Awaitable[None]]], Callable[P, Awaitable[None]]]:
    """The test sees these answers; a claim is `GET /runs/{id} 200 404`."""
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
    """Notes every answer within the block, for blocks around it too."""
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
