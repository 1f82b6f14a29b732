"""Places of values: the grammar's rule for a path of a document, and the model's place for its value."""

from dataclasses import dataclass
from typing import Any

from shared.expressions import Phase
from shared.pipeline.compound_rules import List, Record, Switchable, Table
from shared.pipeline.rules import Condition, Rule

_NAMES = {
    "timeout": "timeout_seconds",
    "stop_grace": "stop_grace_seconds",
    "cpu": "cpu_millis",
    "memory": "memory_bytes",
    "within": "within_seconds",
    "backoff": "backoff_seconds",
    "if": "condition",
}
"""The model's names for keys that it has under another name."""
_LEFT_OUT = frozenset({"kubernetes"})
"""Keys of records whose values the model has at the place of the record."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value that may have expressions."""

    path: str
    rule: Rule
    phase: Phase
    place: tuple[str | int, ...]
    """The place of the value in the model's JSON."""


def field_at(root: Rule, path: str) -> Field:
    """Return the field at a path below `root`, such as `services.db.env.LEVEL` or `steps.0.timeout`.

    Raises LookupError if the grammar has no such field with expressions.
    """
    place: list[str | int] = []
    rule, rest = root, path
    while rest:
        part, _, after = rest.partition(".")
        match rule:
            case Switchable():
                rule = rule.record
                continue
            case Record():
                if part not in _LEFT_OUT:
                    place.append(_NAMES.get(part, part))
                rule = rule.fields[part]
            case List():
                place.append(int(part))
                rule = rule.item
            case Table() if isinstance(rule.value, Record | Table | List):
                place.append(part)
                rule = rule.value
            case Table():  # the name of a value may have dots
                place.append(rest)
                rule, after = rule.value, ""
            case _:
                raise LookupError(path)
        rest = after
    phase = getattr(rule, "phase", None)
    if phase is None or isinstance(rule, Condition):
        raise LookupError(path)
    return Field(path, rule, phase, tuple(place))


def set_value(document: Any, place: tuple[str | int, ...], value: Any) -> None:
    """Set a value in JSON."""
    *outer, last = place
    for part in outer:
        document = document[part]
    document[last] = value
