"""Cursors of lists. A cursor holds the last id shown and a hash of the list's filters.

Lists run from the newest id to the oldest, so new items do not shift a page.
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
    """The cursor was not issued for this list with these filters."""


class HasId(Protocol):
    def __getitem__(self, name: str, /) -> Any: ...


R = TypeVar("R", bound=HasId)


def _hash(filters: Mapping[str, object]) -> bytes:
    return hashlib.sha256(orjson.dumps(filters, option=orjson.OPT_SORT_KEYS, default=str)).digest()[:8]


def cursor_after(last_id: int, filters: Mapping[str, object]) -> str:
    """Return the cursor of the page after `last_id`.

    `filters` contains the name of the list and everything that restricts it, including the caller.
    """
    return base64.urlsafe_b64encode(struct.pack(">q", last_id) + _hash(filters)).rstrip(b"=").decode()


def id_before(cursor: str | None, filters: Mapping[str, object]) -> int:
    """Return the id below which the next page begins. Raises ForeignCursor."""
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
    """Split rows into a page and the cursor of the next page. The cursor is None on the last page.

    The caller must have read up to `limit` + 1 rows.
    """
    if len(rows) <= limit:
        return rows, None
    return rows[:limit], cursor_after(rows[limit - 1]["id"], filters)
