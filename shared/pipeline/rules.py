"""The kinds of rules that the grammar consists of.

Each rule reads a node and describes itself as JSON Schema, so that both stay consistent. Reading does not
stop at the first problem. A value that cannot be read becomes None, and its problem is recorded with its
position. This is unambiguous, because no value of a pipeline may be null.
"""

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any, Protocol

from shared.pipeline.errors import BadValue, Path, Place, Problems, Spot, quotable
from shared.pipeline.yaml import Mapping, Node, Scalar, Sequence, Unreadable

JsonSchema = dict[str, Any]

_EXPRESSION = re.compile(r"\$\{\{[^}\n]*(?:\}\})?")


class Rule(Protocol):
    @property
    def what(self) -> str:
        """A description of the value, such as `a duration`."""

    def read(self, node: Node, spot: Spot, reading: "Reading") -> Any:
        """Return the value of this node, or None if it has a problem.

        `spot` is the position for problems that do not belong to a certain word of the node.
        """

    def schema(self) -> JsonSchema: ...


class Reading:
    """One pass over a document. It collects the problems, and the position of each key and item."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.places: dict[Path, Place] = {}

    def read(self, node: Node, rule: Rule, spot: Spot) -> Any:
        self.places[spot.path] = spot.place
        if isinstance(node, Unreadable):
            return None
        takes_expressions = isinstance(rule, Text) and rule.takes_expressions
        if (
            isinstance(node, Scalar)
            and not takes_expressions
            and (expression := _EXPRESSION.search(node.text))
        ):
            hint = rule.instead_of_expressions if isinstance(rule, Text) else None
            message = f"expressions such as {quotable(expression[0], 60)} are not supported yet"
            return self.refuse(Spot(spot.path, node.place), "not_supported", message, hint)
        return rule.read(node, spot, self)

    def refuse(self, spot: Spot, code: str, message: str, hint: str | None = None) -> None:
        self.problems.add(spot, code, message, hint)

    def refuse_value(self, spot: Spot, error: BadValue) -> None:
        self.problems.add(spot, error.code, error.message, error.hint)

    def wrong_type(self, node: Node, rule: Rule, spot: Spot, hint: str | None = None) -> None:
        place = node.place if isinstance(node, Scalar) and node.text else spot.place
        self.problems.add(
            Spot(spot.path, place), "wrong_type", f"expected {rule.what}, found {_described(node)}", hint
        )


def _described(node: Node) -> str:
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar(kind="null"):
            return "nothing"
        case Scalar(kind="text"):
            return f'the text "{quotable(node.text)}"'
        case Scalar():
            return quotable(node.text)
        case Unreadable():
            return "something unreadable"


@dataclass(frozen=True)
class Text:
    """Any scalar except null, as written. For example, 3.10 is read as text and not as a number."""

    what: str
    parse: Callable[[str], object] = str
    pattern: str | None = None
    """The form that `parse` requires, for readers of the schema."""
    limit: int = 1024
    instead_of_expressions: str | None = None
    takes_expressions: bool = False
    """True if `parse` reads expressions itself."""

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Scalar) or node.kind == "null":
            return reading.wrong_type(node, self, spot)
        spot = Spot(spot.path, node.place)
        if len(node.text) > self.limit:
            return reading.refuse(spot, "too_long", f"{self.what} may have {self.limit} characters")
        try:
            return self.parse(node.text)
        except BadValue as error:
            return reading.refuse_value(spot, error)

    def schema(self) -> JsonSchema:
        form = {"pattern": f"^(?:{self.pattern})$"} if self.pattern else {}
        return {
            "description": self.what,
            "type": ["string", "number", "boolean"],
            "maxLength": self.limit,
            **form,
        }


@dataclass(frozen=True)
class Choice:
    """One word of a fixed list."""

    what: str
    code: str
    words: tuple[str, ...]

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Scalar) or node.kind == "null":
            return reading.wrong_type(node, self, spot)
        if node.text in self.words:
            return node.text
        meant = reading.problems.nearest(node.text, self.words)
        message = f'"{quotable(node.text)}" is not {self.what}' + (
            f'. Did you mean "{meant}"?' if meant else ""
        )
        return reading.refuse(
            Spot(spot.path, node.place), self.code, message, f"Allowed here: {', '.join(self.words)}"
        )

    def schema(self) -> JsonSchema:
        return {"description": self.what, "enum": list(self.words)}


@dataclass(frozen=True)
class Integer:
    what: str
    least: int
    most: int

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Scalar) or node.kind != "integer":
            return reading.wrong_type(node, self, spot)
        # int() refuses to convert thousands of digits.
        short = re.fullmatch(r"[-+]?[0-9]{1,9}", node.text)
        if short and self.least <= int(node.text) <= self.most:
            return int(node.text)
        bounds = f"From {self.least} to {self.most}." if self.least < self.most else f"Write {self.least}."
        return reading.refuse(
            Spot(spot.path, node.place), "out_of_bounds", f"{quotable(node.text)} is not {self.what}", bounds
        )

    def schema(self) -> JsonSchema:
        return {"description": self.what, "type": "integer", "minimum": self.least, "maximum": self.most}


@dataclass(frozen=True)
class Flag:
    what: str

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if isinstance(node, Scalar) and node.kind == "boolean":
            return node.text.lower() == "true"
        return reading.wrong_type(node, self, spot, "Write true or false, without quotes.")

    def schema(self) -> JsonSchema:
        return {"description": self.what, "type": "boolean"}


@dataclass(frozen=True)
class FlagOrWord:
    """`true`, `false`, or a word for more than `true`."""

    what: str
    word: str

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if isinstance(node, Scalar) and node.kind == "boolean":
            return node.text.lower() == "true"
        if isinstance(node, Scalar) and node.text == self.word:
            return self.word
        hint = f"Write true, false or {self.word}, the first two without quotes."
        return reading.wrong_type(node, self, spot, hint)

    def schema(self) -> JsonSchema:
        return {"description": self.what, "anyOf": [{"type": "boolean"}, {"const": self.word}]}


@dataclass(frozen=True)
class List:
    """A list of items of one kind, with at least one item."""

    what: str
    item: Rule
    most: int
    may_be_single: bool = False
    """True if a single item may be written instead of a list with one item."""
    check: Callable[[SequenceOf[Any]], None] | None = None
    """Raises BadValue for a list whose items are each valid but do not fit together."""

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Sequence):
            if self.may_be_single and isinstance(node, Scalar) and node.kind != "null":
                return self._checked([reading.read(node, self.item, spot)], spot, reading)
            return reading.wrong_type(node, self, spot)
        if not node.items:
            return reading.refuse(
                spot, "empty", "this list is empty", "Leave the key out, or name something."
            )
        if len(node.items) > self.most:
            return reading.refuse(
                spot, "too_many", f"{len(node.items)} items; at most {self.most} are allowed"
            )
        items = [
            reading.read(item, self.item, Spot((*spot.path, index), item.place))
            for index, item in enumerate(node.items)
        ]
        return self._checked(items, spot, reading)

    def _checked(self, items: list[Any], spot: Spot, reading: Reading) -> Any:
        try:
            if self.check and None not in items:
                self.check(items)
        except BadValue as error:
            return reading.refuse_value(spot, error)
        return items

    def schema(self) -> JsonSchema:
        item = self.item.schema()
        several = {"type": "array", "items": item, "minItems": 1, "maxItems": self.most}
        return {"description": self.what, **({"anyOf": [item, several]} if self.may_be_single else several)}


@dataclass(frozen=True)
class Table:
    """A mapping from names of the user's choice to values of one kind."""

    what: str
    name: Text
    value: Rule
    most: int
    least: int = 0

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Mapping):
            return reading.wrong_type(node, self, spot)
        if len(node.items) < self.least:
            return reading.refuse(spot, "empty", f"expected {self.what}, found none")
        if len(node.items) > self.most:
            return reading.refuse(
                spot, "too_many", f"{len(node.items)} entries; at most {self.most} are allowed"
            )
        return {key.text: self._entry(key, value, spot.path, reading) for key, value in node.items}

    def _entry(self, key: Scalar, value: Node, path: Path, reading: Reading) -> Any:
        spot = Spot((*path, key.text), key.place)
        try:
            self.name.parse(key.text)
        except BadValue as error:
            reading.refuse_value(spot, error)
        return reading.read(value, self.value, spot)

    def schema(self) -> JsonSchema:
        names = {"pattern": f"^(?:{self.name.pattern})$"}
        bounds = {"minProperties": self.least, "maxProperties": self.most}
        return {
            "description": self.what,
            "type": "object",
            "propertyNames": names,
            "additionalProperties": self.value.schema(),
            **bounds,
        }


@dataclass(frozen=True)
class Record:
    """A mapping whose keys the language defines."""

    what: str
    fields: MappingOf[str, Rule]
    required: tuple[str, ...] = ()
    least: int = 0
    may_be_blank: bool = False
    """True if `key:` without a value is a record without keys."""
    later: tuple[str, ...] = ()
    """Keys of the language that are not supported yet. They are refused by name and never ignored."""
    meant: MappingOf[str, str] = field(default_factory=dict)
    """Maps words of other systems to the keys of this language."""

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if self.may_be_blank and isinstance(node, Scalar) and node.kind == "null":
            return {}
        if not isinstance(node, Mapping):
            return reading.wrong_type(node, self, spot, f"Allowed here: {', '.join(sorted(self.fields))}")
        if len(node.items) < self.least:
            return reading.refuse(
                spot,
                "empty",
                f"expected {self.what}, found none",
                f"Allowed here: {', '.join(sorted(self.fields))}",
            )
        values: dict[str, Any] = {}
        for key, value in node.items:
            here = Spot((*spot.path, key.text), key.place)
            if key.text in self.fields:
                values[key.text] = reading.read(value, self.fields[key.text], here)
            else:
                self._refuse_key(key.text, here, reading)
        for name in self.required:
            if name not in values:
                reading.refuse(spot, "missing_key", f'"{name}" is missing: {self.fields[name].what}')
        return values

    def _refuse_key(self, key: str, spot: Spot, reading: Reading) -> None:
        if key in self.later:
            return reading.refuse(spot, "not_supported", f'"{key}" is not supported yet')
        message = "unknown key"
        if meant := self.meant.get(key) or reading.problems.nearest(key, [*self.fields, *self.later]):
            message += f'. Did you mean "{meant}"?' + (
                " It is not supported yet." if meant in self.later else ""
            )
        return reading.refuse(spot, "unknown_key", message, f"Allowed here: {', '.join(sorted(self.fields))}")

    def schema(self) -> JsonSchema:
        fields = {name: rule.schema() for name, rule in self.fields.items()}
        kind: str | list[str] = ["object", "null"] if self.may_be_blank else "object"
        keys = {
            "properties": fields,
            "required": list(self.required),
            "minProperties": self.least,
            "additionalProperties": False,
        }
        return {"description": self.what, "type": kind, **keys}


@dataclass(frozen=True)
class Switchable:
    """A record that can be replaced by `true` (use the defaults) or `false` (switch it off)."""

    what: str
    record: Record

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if isinstance(node, Scalar) and node.kind == "boolean":
            return {} if node.text.lower() == "true" else False
        if not isinstance(node, Mapping):
            return reading.wrong_type(node, self, spot)
        return self.record.read(node, spot, reading)

    def schema(self) -> JsonSchema:
        return {"description": self.what, "anyOf": [{"type": "boolean"}, self.record.schema()]}
