"""Templates: text with event data, for the names of concurrency groups.

An example is `${{ event.repository }}:${{ event.pull_request || event.ref }}`.

A template is text with any number of `${{ … }}`. Each contains fields of the event and quoted words; its
value is the first of them that is not empty. Templates are parsed when a pipeline is saved, so evaluation
cannot fail later. It takes time in proportion to the length.
"""

import re
from collections.abc import Iterator, Mapping, Set

from shared.pipeline.errors import BadValue, nearest, quotable

EVENT_FIELDS = (
    "type",
    "action",
    "repository",
    "ref",
    "branch",
    "tag",
    "sha",
    "base_branch",
    "pull_request",
    "sender",
)
"""The fields of an event that templates can use. Each is text, and empty if the event lacks it."""

_PLACEHOLDER = re.compile(r"\$\{\{(.*?)\}\}")
_OPERAND = re.compile(
    r"\s*(?:event\.(?P<field>[A-Za-z_][A-Za-z0-9_]*)|'(?P<word>(?:[^']|'')*)')\s*(?P<onward>\|\||$)"
)
_FORM = (
    "Write ${{ event.branch }}, or ${{ event.pull_request || event.ref }} for the first that is not empty."
)

Operand = tuple[str, bool]
"""A field's name or a quoted word, and True if it is a field."""


def template(text: str) -> str:
    """Return the text. Raises BadValue if it is not a valid template."""
    for _, operands in _parts(text):
        for name, is_field in operands:
            if is_field and name not in EVENT_FIELDS:
                meant = nearest(name, EVENT_FIELDS)
                message = f'events have no field "{quotable(name)}"' + (
                    f'. Did you mean "{meant}"?' if meant else ""
                )
                raise BadValue(
                    "unknown_field",
                    message,
                    f"Allowed here: {', '.join(f'event.{field}' for field in EVENT_FIELDS)}",
                )
    if not text.strip() or "\n" in text:
        raise BadValue("bad_group", "a group's name is one line and not blank")
    return text


def filled(text: str, event: Mapping[str, str]) -> str:
    """Return the template with the event's fields filled in."""
    return "".join(literal + _first(operands, event) for literal, operands in _parts(text))


def always_empty(text: str, fields: Set[str]) -> list[str]:
    """Return the template's expressions, as written, that are empty for events with only these fields."""
    return [found[0] for found in _PLACEHOLDER.finditer(text) if _is_empty(_operands(found[1]), fields)]


def _is_empty(operands: list[Operand], fields: Set[str]) -> bool:
    return not any(name in fields if is_field else name for name, is_field in operands)


def _first(operands: list[Operand], event: Mapping[str, str]) -> str:
    values = (event.get(name, "") if is_field else name for name, is_field in operands)
    return next(filter(None, values), "")


def _parts(text: str) -> Iterator[tuple[str, list[Operand]]]:
    """Yield each literal text with the operands of the placeholder after it. The last has no operands."""
    end = 0
    for found in _PLACEHOLDER.finditer(text):
        yield _literal(text[end : found.start()]), _operands(found[1])
        end = found.end()
    yield _literal(text[end:]), []


def _literal(text: str) -> str:
    if "${{" in text:
        raise BadValue("bad_expression", 'this "${{" is never closed', "Close it with }}.")
    return text


def _operands(text: str) -> list[Operand]:
    operands: list[Operand] = []
    position, more = 0, True
    while more:
        found = _OPERAND.match(text, position)
        if found is None:
            raise BadValue(
                "not_supported", f"the expression {quotable(text.strip(), 60)} is not supported here", _FORM
            )
        operands.append(
            (found["field"], True)
            if found["field"] is not None
            else (found["word"].replace("''", "'"), False)
        )
        position, more = found.end(), found["onward"] == "||"
    return operands
