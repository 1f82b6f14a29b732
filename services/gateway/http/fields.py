"""Field types of requests and answers: text that Postgres can store, ids, and instants."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

BIGGEST_ID = 2**63 - 1
TRACE_ID = (
    "The trace (W3C) of the request that caused it, 32 hexadecimal digits. The services' log lines about "
    "this work have the same `trace_id`. null: an earlier release stored it."
)
"""The description of the field `trace_id`."""

_RFC3339 = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_DIGITS = re.compile(r"-?\d{1,19}", re.ASCII)


class Shape(BaseModel):
    """The base of all request bodies: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Filters(BaseModel):
    """The base of all query strings.

    Numbers and instants are parsed from text. Unknown parameters are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


def _storable(text: str) -> str:
    if "\0" in text:
        raise ValueError("the character U+0000 is not allowed")
    try:
        text.encode()  # a thousand times faster than checking each character
    except UnicodeEncodeError as error:
        raise ValueError("half of a surrogate pair is not a character") from error
    return text


def is_storable(text: str) -> bool:
    """Return True if Postgres can store this text."""
    try:
        _storable(text)
    except ValueError:
        return False
    return True


def _rfc3339(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("an instant such as 2026-01-31T12:00:00Z is needed")
    text = (
        f"{value[:-6]}+{value[-5:]}" if len(value) > 6 and value[-6] == " " else value
    )  # the plus sign was decoded to a space in the URL
    found = _RFC3339.fullmatch(text)
    if not found:
        raise ValueError("an instant such as 2026-01-31T12:00:00Z is needed")
    if found[2] is None:
        raise ValueError("an offset is needed: Z or +02:00")
    return datetime.fromisoformat(text.upper())  # raises ValueError for a date that does not exist


def _utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("outside of the years 1 to 9999") from error


def instant_text(at: datetime) -> str:
    """Format an instant as RFC 3339 in UTC, with Z and microseconds.

    asyncpg returns the first and the last possible instant without a time zone. They are treated as UTC.
    """
    return (
        (at if at.tzinfo else at.replace(tzinfo=UTC))
        .astimezone(UTC)
        .isoformat(timespec="microseconds")
        .replace("+00:00", "Z")
    )


def _whole(value: Any) -> Any:
    """Convert a whole float to an integer, because in JSON 1.0 is the integer 1."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: Any) -> Any:
    if isinstance(value, str) and not _DIGITS.fullmatch(value):
        raise ValueError("a whole number is needed")
    return value


STORABLE_PATTERN = "^[^\\u0000]*$"
"""The pattern of text without U+0000, for the OpenAPI document."""

Text = Annotated[str, AfterValidator(_storable), Field(json_schema_extra={"pattern": STORABLE_PATTERN})]
Id = Annotated[int, Field(ge=1, le=BIGGEST_ID), BeforeValidator(_whole)]
QueryNumber = BeforeValidator(_number)
QueryId = Annotated[int, Field(ge=1, le=BIGGEST_ID), QueryNumber]
Moment = Annotated[
    datetime,
    BeforeValidator(_rfc3339),
    AfterValidator(_utc),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant in a request."""
Instant = Annotated[
    datetime,
    PlainSerializer(instant_text, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""An instant in an answer."""


def id_in_path(text: str) -> int | None:
    """Parse an id in a path. Return None if no row can have this id."""
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        return None
    number = int(text)
    return number if 1 <= number <= BIGGEST_ID else None
