"""Tests of the figures: the choice of benches, ratios, quantiles, and the comparison with a goal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.figures import ROWS, Row, median, megabytes, quantile, rows_of

FASTER = Row("B1", "webhooks", "1/s", "higher", 3000, 60)
SHORTER = Row("B2", "latency", "s", "lower", 0.05, 60)


@pytest.mark.parametrize(
    ("words", "keys"),
    [
        ([], [row.key for row in ROWS]),
        (["B5"], ["B5", "B5_files"]),
        (["b4,B1"], ["B1", "B1_steady", "B4"]),
        (["B2", "B4,"], ["B2", "B4"]),
    ],
)
def test_benches_are_chosen_by_name_in_their_own_order(words: list[str], keys: list[str]) -> None:
    assert [row.key for row in rows_of(words)] == keys


def test_an_unknown_bench_is_named_in_the_error() -> None:
    with pytest.raises(ValueError, match="there is no B77"):
        rows_of(["B1,B77"])


def test_a_ratio_says_how_many_times_better_than_the_reference() -> None:
    assert FASTER.ratio(3000, 30) == pytest.approx(100)
    assert SHORTER.ratio(0.05, 0.4) == pytest.approx(8)
    assert SHORTER.ratio(0.05, 0) is None


@pytest.mark.parametrize(
    ("row", "value", "reached"),
    [(FASTER, 3000, True), (FASTER, 2999, False), (SHORTER, 0.05, True), (SHORTER, 0.051, False)],
)
def test_a_goal_is_reached_at_its_own_value(row: Row, value: float, reached: bool) -> None:
    assert row.reached(value) is reached


@given(values=st.lists(st.floats(0, 1e6), min_size=1), share=st.floats(0.01, 1))
def test_a_quantile_covers_its_share_and_nothing_smaller_does(values: list[float], share: float) -> None:
    found = quantile(sorted(values), share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert all(
        sum(value <= smaller for value in values) < share * len(values)
        for smaller in values
        if smaller < found
    )


def test_a_quantile_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


def test_a_median_comes_with_its_spread() -> None:
    measured = median([0.3, 0.1, 0.2], {"runs": 3})
    assert measured.value == 0.2
    assert measured.details == {
        "p50_seconds": 0.2,
        "p90_seconds": 0.3,
        "p99_seconds": 0.3,
        "longest_seconds": 0.3,
        "runs": 3,
    }


def test_megabytes_are_millions_of_bytes_a_second() -> None:
    assert megabytes(100_000_000, 2).value == 50
