"""Cursors of lists: the last id shown and a hash of the filters it was shown under. Pure.

Lists run from the newest id to the oldest, so a page never shifts when something is added.
"""

import base64
import hashlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import orjson

FROM_THE_NEWEST = 2**63 - 1
CURSOR_PATTERN = "^[A-Za-z0-9_-]{22}$"


class ForeignCursor(ValueError):
    """The cursor was not given out for this list with these filters."""


class HasId(Protocol):
    def __getitem__(self, name: str, /) -> Any: ...


R = TypeVar("R", bound=HasId)


def _hash(filters: Mapping[str, object]) -> bytes:
    return hashlib.sha256(orjson.dumps(filters, option=orjson.OPT_SORT_KEYS, default=str)).digest()[:8]


def cursor_after(last_id: int, filters: Mapping[str, object]) -> str:
    """Where the next page begins.

    `filters` are the list's name and all that narrows it, the caller included.
    """
    return base64.urlsafe_b64encode(struct.pack(">q", last_id) + _hash(filters)).rstrip(b"=").decode()


def id_before(cursor: str | None, filters: Mapping[str, object]) -> int:
    """Items with an id below this one are next. Raises ForeignCursor."""
    if cursor is None:
        return FROM_THE_NEWEST
    try:
        raw = base64.b64decode(cursor.encode("ascii") + b"==", altchars=b"-_", validate=True)
    except ValueError as error:
        raise ForeignCursor from error
    if len(raw) != 16 or raw[8:] != _hash(filters):
        raise ForeignCursor
    last_id: int = struct.unpack(">q", raw[:8])[0]
    if last_id < 1:
        raise ForeignCursor
    return last_id


def split_page(
    rows: Sequence[R], limit: int, filters: Mapping[str, object]
) -> tuple[Sequence[R], str | None]:
    """The page in rows that were read with one more than `limit`, and the cursor of the next page where there
    is one.
    """
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_after(rows[limit - 1]["id"], filters)
