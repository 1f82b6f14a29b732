"""Text with event data in it: the part of the expression language that names a concurrency group.

An example is `${{ event.repository }}:${{ event.pull_request || event.ref }}`.

A template is a text with any number of `${{ … }}`; each holds fields of the event and quoted words, and
stands for the first of them that is not empty. Everything is parsed when a pipeline is saved, so filling one
in later can't fail and takes time in proportion to its length.
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
"""What an event is asked for; each is text, and empty where the event lacks it."""

_PLACEHOLDER = re.compile(r"\$\{\{(.*?)\}\}")
_OPERAND = re.compile(
    r"\s*(?:event\.(?P<field>[A-Za-z_][A-Za-z0-9_]*)|'(?P<word>(?:[^']|'')*)')\s*(?P<onward>\|\||$)"
)
_FORM = (
    "Write ${{ event.branch }}, or ${{ event.pull_request || event.ref }} for the first that is not empty."
)

Operand = tuple[str, bool]
"""A field's name, or a word; and whether it is a field."""


def template(text: str) -> str:
    """The text itself, when it can be filled in. Raises BadValue."""
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
    """A template with the event's fields in their places."""
    return "".join(literal + _first(operands, event) for literal, operands in _parts(text))


def always_empty(text: str, fields: Set[str]) -> list[str]:
    """Return the expressions of a template, as written, that are empty for events with these fields alone."""
    return [found[0] for found in _PLACEHOLDER.finditer(text) if _is_empty(_operands(found[1]), fields)]


def _is_empty(operands: list[Operand], fields: Set[str]) -> bool:
    return not any(name in fields if is_field else name for name, is_field in operands)


def _first(operands: list[Operand], event: Mapping[str, str]) -> str:
    values = (event.get(name, "") if is_field else name for name, is_field in operands)
    return next(filter(None, values), "")


def _parts(text: str) -> Iterator[tuple[str, list[Operand]]]:
    """Literal text, each time with the operands of the placeholder behind it; the last has none."""
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
