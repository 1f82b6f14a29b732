"""Tests of cursors: a cursor leads to the next page of its own list and is refused for any other list."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.http.paging import (
    CURSOR_PATTERN,
    FROM_THE_NEWEST,
    ForeignCursor,
    cursor_after,
    id_before,
    split_page,
)

IDS = st.integers(min_value=1, max_value=2**63 - 1)
FILTERS = st.dictionaries(
    st.text(max_size=5), st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5), max_size=4
)


@given(IDS, FILTERS)
def test_a_cursor_names_the_last_id(last_id: int, filters: dict[str, object]) -> None:
    cursor = cursor_after(last_id, filters)
    assert re.fullmatch(CURSOR_PATTERN, cursor)
    assert id_before(cursor, filters) == last_id


@given(IDS, FILTERS, FILTERS)
def test_other_filters_make_it_foreign(
    last_id: int, filters: dict[str, object], others: dict[str, object]
) -> None:
    if filters != others:
        with pytest.raises(ForeignCursor):
            id_before(cursor_after(last_id, filters), others)


@given(st.text())
def test_no_other_text_is_a_cursor(text: str) -> None:
    with pytest.raises(ForeignCursor):
        id_before(text, {})


def test_without_a_cursor_the_list_begins_with_the_newest() -> None:
    assert id_before(None, {}) == FROM_THE_NEWEST


@given(st.integers(min_value=0, max_value=40), st.integers(min_value=1, max_value=7))
def test_pages_join_to_the_whole_list(count: int, limit: int) -> None:
    everything = [{"id": number} for number in range(count, 0, -1)]
    seen: list[dict[str, int]] = []
    cursor = None
    for _ in range(count + 1):
        before = id_before(cursor, {"list": "x"})
        rows, cursor = split_page(
            [row for row in everything if row["id"] < before][: limit + 1], limit, {"list": "x"}
        )
        seen += rows
        if cursor is None:
            break
    assert seen == everything
