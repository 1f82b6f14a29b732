"""The rules of values that contain others: lists, tables and records."""

from collections.abc import Callable
from collections.abc import Mapping as MappingOf
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass, field
from typing import Any

from shared.pipeline.errors import BadValue, Path, Spot
from shared.pipeline.rules import JsonSchema, Reading, Rule, Text
from shared.pipeline.yaml import Mapping, Node, Scalar, Sequence

OTHERS = "*"
"""The key of a record's value that has the entries of the user's choice."""


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
        return {key.text: self.entry(key, value, spot.path, reading) for key, value in node.items}

    def entry(self, key: Scalar, value: Node, path: Path, reading: Reading) -> Any:
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
    others: "Table | None" = None
    """The rule for keys of the user's choice. The value has them in the key OTHERS."""
    free: str = ""
    """The beginning of keys that may have any value. Nothing in them is read. Empty: there are none."""

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
            elif self.others is not None and key.text not in self.meant:
                values.setdefault(OTHERS, {})[key.text] = self.others.entry(key, value, spot.path, reading)
            elif not self.free or not key.text.startswith(self.free):
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
        allowed = [*sorted(self.fields), *([f"{self.free}…"] if self.free else [])]
        if self.others is not None:
            allowed.append(f"or {self.others.name.what}, with {self.others.value.what}")
        return reading.refuse(spot, "unknown_key", message, f"Allowed here: {', '.join(allowed)}")

    def schema(self) -> JsonSchema:
        fields = {name: rule.schema() for name, rule in self.fields.items()}
        kind: str | list[str] = ["object", "null"] if self.may_be_blank else "object"
        keys: JsonSchema = {
            "properties": fields,
            "required": list(self.required),
            "minProperties": self.least,
            "additionalProperties": False if self.others is None else self.others.value.schema(),
            **({"patternProperties": {f"^{self.free}": {}}} if self.free else {}),
        }
        return {"description": self.what, "type": kind, **keys}


@dataclass(frozen=True)
class ListOrRecord:
    """A record, or a list that is the value of one of its keys."""

    what: str
    key: str
    record: Record

    @property
    def _list(self) -> Rule:
        return self.record.fields[self.key]

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if isinstance(node, Mapping):
            return self.record.read(node, spot, reading)
        if not isinstance(node, Sequence) and not (isinstance(node, Scalar) and node.kind != "null"):
            return reading.wrong_type(node, self, spot)
        return {self.key: self._list.read(node, spot, reading)}

    def schema(self) -> JsonSchema:
        return {"description": self.what, "anyOf": [self._list.schema(), self.record.schema()]}


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
