"""Tests of the backoff: it grows with each failure, stays within bounds, and is different for each caller."""

from hypothesis import given
from hypothesis import strategies as st

from shared.backoff import backoff


@given(st.integers(1, 10_000))
def test_a_wait_is_never_nothing_and_never_over_the_most(failures: int) -> None:
    assert 0.05 <= backoff(failures) <= 5


@given(st.integers(1, 5))
def test_the_wait_doubles_with_each_failure(failures: int) -> None:
    longest = 0.1 * 2 ** (failures - 1)
    assert longest / 2 <= backoff(failures) <= longest


def test_waiters_do_not_come_back_together() -> None:
    assert len({backoff(4) for _ in range(20)}) > 1
