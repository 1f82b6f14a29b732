"""Tests of fields: they accept what can be stored and returned, and explain what they refuse."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from services.gateway.http.fields import Instant, Moment, QueryId, Text, id_in_path, instant_text, is_storable

TEXT: TypeAdapter[Any] = TypeAdapter(Text)
MOMENT: TypeAdapter[Any] = TypeAdapter(Moment)
INSTANT: TypeAdapter[Any] = TypeAdapter(Instant)
QUERY_ID: TypeAdapter[Any] = TypeAdapter(QueryId)


@given(st.text(alphabet=st.characters(blacklist_categories=())))
def test_text_is_taken_exactly_when_postgres_can_store_it(text: str) -> None:
    storable = "\0" not in text and text.encode("utf-8", "surrogatepass").decode("utf-8", "replace") == text
    assert is_storable(text) == storable
    if storable:
        assert TEXT.validate_python(text) == text
    else:
        with pytest.raises(ValidationError):
            TEXT.validate_python(text)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20t10:00:00z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00.123456+02:00", datetime(2026, 11, 20, 8, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-20T10:00:00 02:00", datetime(2026, 11, 20, 8, tzinfo=UTC)),
        ("2026-11-20T10:00:00-02:00", datetime(2026, 11, 20, 12, tzinfo=UTC)),
    ],
)
def test_an_instant_with_an_offset_is_understood(text: str, at: datetime) -> None:
    assert MOMENT.validate_python(text) == at.astimezone(UTC)


@pytest.mark.parametrize(
    "value",
    [
        "", "now", "2026-11-20", "2026-11-20T10:00:00", "2026-13-20T10:00:00Z", "1700000000", 1700000000,
        None, "0001-01-01T00:00:00+14:00",
        "\u0662\u0660\u0662\u0666-11-20T10:00:00Z",
    ],
)  # fmt: skip
def test_anything_else_is_no_instant(value: Any) -> None:
    with pytest.raises(ValidationError):
        MOMENT.validate_python(value)


YEARS = (datetime(2, 1, 1), datetime(9998, 1, 1))  # noqa: DTZ001 - the strategy adds the zone


@given(st.datetimes(*YEARS, timezones=st.timezones()))
def test_instants_are_answered_in_utc_with_microseconds(at: datetime) -> None:
    text = instant_text(at)
    assert len(text) == len("2026-11-20T10:00:00.000000Z")
    assert text.endswith("Z")
    assert MOMENT.validate_python(text) == at.astimezone(UTC)
    assert INSTANT.dump_python(at) == text


@given(st.integers())
def test_an_id_is_one_that_a_row_can_have(number: int) -> None:
    good = 1 <= number < 2**63
    assert id_in_path(str(number)) == (number if good else None)
    if good:
        assert QUERY_ID.validate_python(str(number)) == number
    else:
        with pytest.raises(ValidationError):
            QUERY_ID.validate_python(str(number))


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "+1", "1.0", "1e3", "1_000", "0x1", "\u0661", "\u00b2", "1\n"]
)
def test_a_number_is_written_in_digits(text: str) -> None:
    assert id_in_path(text) is None
    with pytest.raises(ValidationError):
        QUERY_ID.validate_python(text)
