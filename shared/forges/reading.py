"""Reader for a forge's JSON that does not trust its shape: a field has the expected type or is missing.

Text has no NUL and a bounded length, ids fit Postgres' bigint, and times are UTC. Malformed is raised only
for fields that an event requires.
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
    """The delivery cannot be read. The message is a sentence for people and contains nothing of the body."""


@dataclass(frozen=True, slots=True)
class ForgeRepository:
    """A repository as a verified delivery names it."""

    forge: str
    forge_id: int
    full_name: str


@dataclass(frozen=True, slots=True)
class Reading:
    """Result of reading a delivery. An Event always has its repository."""

    said: Event | Ignored
    repository: ForgeRepository | None = None
    hook_target_type: str | None = None
    """GitHub only: the kind of owner of the hook (repository, organization, integration).

    Several hooks may report the same push.
    """


class Fields:
    """Fields of a JSON object.

    The methods return None for a field that is missing or has another type. The `required_…` methods raise
    Malformed instead.
    """

    def __init__(self, document: Mapping[str, Any], path: str = "") -> None:
        self._document = document
        self._path = path

    def fields(self, name: str) -> "Fields":
        """Returns the object in a field, or an empty one if there is none."""
        value = self._document.get(name)
        return Fields(value if isinstance(value, dict) else {}, f"{self._path}{name}.")

    def objects(self, name: str) -> list[dict[str, Any]] | None:
        """Returns the list of objects in a field, or None if it has another type or other items."""
        value = self._document.get(name)
        return value if isinstance(value, list) and all(isinstance(item, dict) for item in value) else None

    def text(self, name: str) -> str | None:
        value = self._document.get(name)
        return (
            value.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_LONGEST_TEXT]
            if isinstance(value, str)
            else None
        )

    def number(self, name: str) -> int | None:
        """Returns a positive id."""
        value = self._document.get(name)
        return (
            value
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _GREATEST_ID
            else None
        )

    def is_true(self, name: str) -> bool:
        return self._document.get(name) is True

    def instant(self, name: str) -> datetime | None:
        """Returns a time from seconds since 1970 or ISO 8601 text. GitHub uses both, even for one field."""
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
    """Returns the JSON object of a delivery, sent as JSON or as the form field `payload`.

    Raises Malformed.
    """
    try:
        is_form = headers.get("content-type", "").lower().startswith(forms.CONTENT_TYPE)
        document = orjson.loads(forms.payload(body) if is_form else body)
    except forms.NoPayload:
        raise Malformed("The form has no field `payload`, or two of them.") from None
    except ValueError:  # orjson.JSONDecodeError is a ValueError
        raise Malformed("The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Malformed("The body is not a JSON object.")
    return Fields(document)


def read_repository(forge: str, payload: Fields) -> ForgeRepository:
    """Returns the delivery's repository. Raises Malformed if the body has no repository id or name."""
    repository = payload.fields("repository")
    full_name = repository.required_text("full_name")
    if "/" not in full_name or len(full_name) > 512 or not full_name.isprintable():
        raise Malformed("`repository.full_name` is not a repository's name.")
    return ForgeRepository(forge, repository.required_number("id"), full_name)


def ignored(reason: str, forge: str, headers: Mapping[str, str], body: bytes) -> Reading:
    """Returns the reading of an event type that starts nothing.

    It has the repository if the body names one, so that the repository's users can see the delivery.
    """
    try:
        return Reading(Ignored(reason), read_repository(forge, read_body(headers, body)))
    except Malformed:
        return Reading(Ignored(reason))
