"""Inputs of a pipeline: checks of their definitions, and of the values that a run is started with. Pure.

Manual runs and schedules give values by name. An input without a value has its default. For events of a
forge all inputs have their defaults; an input without a default is null there.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import re2

from shared.pipeline.errors import BadValue, Path, Spot, quotable
from shared.pipeline.model import Input, MatrixValue, Pipeline
from shared.pipeline.rules import Reading

LENGTH_LIMIT = 1024
"""Characters of a value, and the default of `max_length`."""
PATTERN_LIMIT = 200
_PATTERN_MEMORY_BYTES = 1 << 20
NUMBER = r"[-+]?[0-9]{1,15}(?:\.[0-9]{1,15})?"
_OF_TYPE = {"options": ("choice",), "max_length": ("string",), "pattern": ("string",)}
"""Keys that only inputs of these types may have."""

Given = Mapping[str, str]
"""Values by the names of their inputs, as text."""


class WrongInput(NamedTuple):
    """A problem of a value, or of a name that is no input. `message` is a sentence for people."""

    name: str
    code: str
    message: str


def pattern(text: str) -> str:
    """Return the text of a regular expression. Raises BadValue if RE2 can't read it."""
    try:
        _compiled(text)
    except re2.error as error:
        message = f'"{quotable(text)}" is not a regular expression'
        raise BadValue("bad_pattern", message, "The syntax is that of RE2, without look-around.") from error
    return text


def check(document: Mapping[str, Any], reading: Reading) -> None:
    """Record the problems of the definitions under `on.manual.inputs`."""
    manual = (document.get("on") or {}).get("manual") or {}
    for name, values in (manual.get("inputs") or {}).items():
        path: Path = ("on", "manual", "inputs", name)
        if not values or not values.get("type"):
            continue
        for key, code, message in _faults(name, values):
            place = reading.places.get((*path, key), reading.places[path])
            reading.refuse(Spot((*path, key), place), code, message)


def _faults(name: str, values: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield the problems of one definition, each with its key."""
    kind = values["type"]
    wrong = [key for key, types in _OF_TYPE.items() if key in values and kind not in types]
    for key in wrong:
        yield key, "wrong_type", f'an input of type {kind} has no "{key}"'
    if kind == "choice" and "options" not in values:
        yield "type", "missing_key", 'an input of type choice needs "options"'
    options = values.get("options") or []
    if len(set(options)) != len(options):
        yield "options", "duplicate_option", "an option is there twice"
    default = values.get("default")
    if default is None or wrong or None in values.values() or (kind == "choice" and not options):
        return
    fault = fault_of(name, Input(**{"max_length": LENGTH_LIMIT, **values}), default.text)
    if fault is not None:
        yield "default", fault.code, fault.message.rstrip(".")


def fault_of(name: str, definition: Input, text: str) -> WrongInput | None:
    """Return the problem of a value, or None."""
    fault = _fault(definition, text)
    return None if fault is None else WrongInput(name, fault[0], f"{name} {fault[1]}.")


def _fault(definition: Input, text: str) -> tuple[str, str] | None:
    """Return the code of a problem and the end of its sentence, or None."""
    match definition.type:
        case "boolean":
            return None if text.lower() in ("true", "false") else ("wrong_type", "is true or false")
        case "number":
            return None if re.fullmatch(NUMBER, text) else ("wrong_type", "is a number such as 3 or 2.5")
        case "choice":
            options = ", ".join(quotable(option, 60) for option in definition.options[:20])
            return None if text in definition.options else ("not_an_option", f"is one of: {options}")
        case "string":
            return _fault_of_text(definition, text)


def _fault_of_text(definition: Input, text: str) -> tuple[str, str] | None:
    if len(text) > definition.max_length:
        return "too_long", f"has at most {definition.max_length} characters"
    if "\0" in text:
        return "wrong_type", "can't have the character NUL"
    if definition.pattern is not None and not _compiled(definition.pattern).fullmatch(text):
        return "pattern", f"does not match {quotable(definition.pattern, PATTERN_LIMIT)}"
    return None


def _compiled(text: str) -> Any:
    """Return the regular expression. Raises re2.error."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY_BYTES
    return re2.compile(text, options)


def faults(pipeline: Pipeline, given: Given) -> list[WrongInput]:
    """Return the problems of the values that a run is to be started with: each wrong or missing input."""
    definitions = pipeline.inputs
    found = []
    for name, text in given.items():
        if name not in definitions:
            known = f"It has: {', '.join(definitions)}." if definitions else "It has none."
            found.append(WrongInput(name, "unknown_input", f"The pipeline has no such input. {known}"))
        elif (fault := fault_of(name, definitions[name], text)) is not None:
            found.append(fault)
    for name, definition in definitions.items():
        if name not in given and definition.default is None:
            found.append(WrongInput(name, "missing", f"{name} has no default, so it has to be given."))
    return found


def values(pipeline: Pipeline, given: Given) -> dict[str, MatrixValue | None]:
    """Return the values of all inputs. Those that are not given have their defaults, or None."""
    return {
        name: _value(definition, given[name]) if name in given else _default(definition)
        for name, definition in pipeline.inputs.items()
    }


def _default(definition: Input) -> MatrixValue | None:
    return None if definition.default is None else _value(definition, definition.default.text)


def _value(definition: Input, text: str) -> MatrixValue:
    match definition.type:
        case "boolean":
            return MatrixValue(text=text.lower(), kind="boolean")
        case "number":
            return MatrixValue(text=text, kind="float")
    return MatrixValue(text=text)
