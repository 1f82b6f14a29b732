"""Reading a forge's JSON without trusting its shape: a field is what it should be, or it is missing.

Text comes out free of NUL and bounded, ids fit Postgres' bigint, instants are UTC. Only what an event can't
do without raises Malformed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from shared import forms
from shared.events import Event, Ignored

_LONGEST_TEXT = 65_536
_GREATEST_ID = 2**63 - 1
_EARLIEST = datetime(1970, 1, 2, tzinfo=UTC)  # Go's zero time and epoch 0 mean "unknown"


class Malformed(Exception):
    """The delivery can't be read; the text is a sentence for people and names no content of the body."""


@dataclass(frozen=True, slots=True)
class ForgeRepository:
    """A repository as a verified delivery names it."""

    forge: str
    forge_id: int
    full_name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A delivery, read. An Event always comes with its repository."""

    said: Event | Ignored
    repository: ForgeRepository | None = None
    hook_target_type: str | None = None
    """GitHub: what the hook belongs to (repository, organization, integration); several hooks may report one
    push.
    """


class Fields:
    """The fields of a JSON object.

    Its methods return None for what is missing or of another type, `required_…` raise Malformed.
    """

    def __init__(self, document: Mapping[str, Any], path: str = "") -> None:
        self._document = document
        self._path = path

    def fields(self, name: str) -> "Fields":
        """The object in a field; an empty one when there is none."""
        value = self._document.get(name)
        return Fields(value if isinstance(value, dict) else {}, f"{self._path}{name}.")

    def text(self, name: str) -> str | None:
        value = self._document.get(name)
        return (
            value.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_LONGEST_TEXT]
            if isinstance(value, str)
            else None
        )

    def number(self, name: str) -> int | None:
        """A positive id."""
        value = self._document.get(name)
        return (
            value
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _GREATEST_ID
            else None
        )

    def is_true(self, name: str) -> bool:
        return self._document.get(name) is True

    def instant(self, name: str) -> datetime | None:
        """Seconds since 1970 or ISO 8601 text: GitHub uses both, for one field even."""
        value = self._document.get(name)
        try:
            if isinstance(value, str):
                instant = datetime.fromisoformat(value)
                instant = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC)
            elif isinstance(value, int) and not isinstance(value, bool):
                instant = datetime.fromtimestamp(value, UTC)
            else:
                return None
        except (ValueError, OverflowError, OSError):
            return None
        return instant if instant >= _EARLIEST else None

    def required_text(self, name: str) -> str:
        value = self.text(name)
        if not value:
            raise Malformed(f"The body has no `{self._path}{name}`.")
        return value

    def required_number(self, name: str) -> int:
        value = self.number(name)
        if value is None:
            raise Malformed(f"The body has no number in `{self._path}{name}`.")
        return value


def read_body(headers: Mapping[str, str], body: bytes) -> Fields:
    """The JSON object of a delivery, sent as JSON or as the form field `payload`. Raises Malformed."""
    try:
        is_form = headers.get("content-type", "").lower().startswith(forms.CONTENT_TYPE)
        document = orjson.loads(forms.payload(body) if is_form else body)
    except forms.NoPayload:
        raise Malformed("The form has no field `payload`, or two of them.") from None
    except ValueError:  # orjson's own error is one
        raise Malformed("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Malformed("The body is not a JSON object.")
    return Fields(document)


def read_repository(forge: str, payload: Fields) -> ForgeRepository:
    """Raises Malformed when the body names no repository by number and name."""
    repository = payload.fields("repository")
    full_name = repository.required_text("full_name")
    if "/" not in full_name or len(full_name) > 512 or not full_name.isprintable():
        raise Malformed("`repository.full_name` is not a repository's name.")
    return ForgeRepository(forge, repository.required_number("id"), full_name)


def ignored(reason: str, forge: str, headers: Mapping[str, str], body: bytes) -> Reading:
    """An event type that starts nothing; with the repository where the body names one, so that its people can
    see the delivery.
    """
    try:
        return Reading(Ignored(reason), read_repository(forge, read_body(headers, body)))
    except Malformed:
        return Reading(Ignored(reason))
