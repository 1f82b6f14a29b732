"""Tests of the order of two events with the same time of the forge."""

import random
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.ordering import LONGEST_CHAIN, Change, places_in_order

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def change(
    number: int, before: str | None, sha: str | None, at: datetime | None = NOON, branch: str = "main"
) -> Change:
    return Change(
        id=number,
        repository_id=1,
        ref=f"refs/heads/{branch}",
        pull_request=None,
        sha=sha,
        before_sha=before,
        happened_at=at,
        stored_at=NOON + timedelta(seconds=60 + number),
    )


@given(st.integers(2, LONGEST_CHAIN), st.randoms(use_true_random=False), st.booleans())
def test_a18_events_that_follow_one_another_are_in_order_however_they_came(
    length: int, order: random.Random, timed: bool
) -> None:
    ids = list(range(length))
    order.shuffle(ids)
    places = places_in_order(
        change(number, f"c{n}", f"c{n + 1}", NOON if timed else None) for n, number in enumerate(ids)
    )
    in_order = [(places[number], number) for number in ids]
    assert in_order == sorted(in_order)


def test_a18_what_the_forge_gives_different_times_keeps_them() -> None:
    later = NOON + timedelta(seconds=1)
    assert places_in_order([change(1, "b", "c"), change(2, "a", "b", later)]) == {1: NOON, 2: later}


def test_a18_a_ref_that_comes_back_tells_nothing() -> None:
    """Between the last two events the ref was set back, or deleted and created again."""
    for between in (
        [change(2, "b", "a")],
        [change(2, "b", "c"), change(3, "c", "a")],
        [change(2, "b", None)],
    ):
        assert places_in_order([change(1, "a", "b"), *between, change(9, "a", "b")])[9] == NOON


def test_a18_events_of_other_branches_tell_nothing() -> None:
    assert set(places_in_order([change(1, "b", "c", branch="next"), change(2, "a", "b")]).values()) == {NOON}
