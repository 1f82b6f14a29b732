"""The kinds of rules that the grammar consists of.

Each rule reads a node and describes itself as JSON Schema, so that both stay consistent. Reading does not
stop at the first problem. A value that cannot be read becomes None, and its problem is recorded with its
position. This is unambiguous, because no value of a pipeline may be null.
"""

import re
from collections.abc import Callable
from collections.abc import Set as SetOf
from dataclasses import dataclass
from typing import Any, Protocol

from shared.expressions import (
    ExpressionError,
    ExpressionProblem,
    Phase,
    Template,
    parse_condition,
    parse_template,
    to_text,
)
from shared.expressions import (
    Node as ExpressionNode,
)
from shared.pipeline.errors import BadValue, Path, Place, Problems, Spot, quotable
from shared.pipeline.model import MatrixValue
from shared.pipeline.yaml import Mapping, Node, Scalar, Sequence, Unreadable

JsonSchema = dict[str, Any]

OPENING = "${{"
"""The beginning of an expression."""


class Rule(Protocol):
    @property
    def what(self) -> str:
        """A description of the value, such as `a duration`."""

    def read(self, node: Node, spot: Spot, reading: "Reading") -> Any:
        """Return the value of this node, or None if it has a problem.

        `spot` is the position for problems that do not belong to a certain word of the node.
        """

    def schema(self) -> JsonSchema: ...


@dataclass(frozen=True)
class Written:
    """A value with expressions, or an expression, as it stands in a document."""

    text: str
    parsed: Template | ExpressionNode
    phase: Phase
    place: Place
    only: SetOf[str] | None = None
    """The contexts that may be used. None allows all that the phase has."""
    is_kept: bool = True
    """True if the model has the text at the value's own place, and not among the templates."""


class Reading:
    """One pass over a document.

    It collects the problems, the position of each key and item, and the values with expressions. These are
    checked when the whole document has been read, because they name its parts.
    """

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.places: dict[Path, Place] = {}
        self.written: dict[Path, Written] = {}

    def read(self, node: Node, rule: Rule, spot: Spot) -> Any:
        self.places[spot.path] = spot.place
        if isinstance(node, Unreadable):
            return None
        if isinstance(node, Scalar) and OPENING in node.text and not isinstance(rule, Condition):
            return self._template(node, rule, spot)
        return rule.read(node, spot, self)

    def _template(self, node: Scalar, rule: Rule, spot: Spot) -> Any:
        """Record a value with expressions. Return it if the model has it as text, otherwise None."""
        phase = getattr(rule, "phase", None)
        if len(node.text) > getattr(rule, "limit", len(node.text)):
            return rule.read(node, spot, self)
        if phase is None:
            where = Spot(spot.path, node.place)
            message = "expressions such as ${{ … }} can not be used here"
            hint = "This value is read when the pipeline is saved. Write it out."
            return self.refuse(where, "no_expression", message, hint)
        try:
            template = parse_template(node.text)
        except ExpressionError as error:
            return self.refuse_expression(Spot(spot.path, node.place), node.text, error)
        kept = rule.kept(node.text) if isinstance(rule, Text | Value) else None
        only = getattr(rule, "only", None)
        self.written[spot.path] = Written(node.text, template, phase, node.place, only, kept is not None)
        return kept

    def refuse(self, spot: Spot, code: str, message: str, hint: str | None = None) -> None:
        self.problems.add(spot, code, message, hint)

    def refuse_value(self, spot: Spot, error: BadValue) -> None:
        self.problems.add(spot, error.code, error.message, error.hint)

    def refuse_expression(self, spot: Spot, text: str, error: ExpressionError | ExpressionProblem) -> None:
        """Record a problem of an expression. Its position is that of the characters that it is about."""
        place = place_in(spot.place, text, error.offset)
        self.problems.add(Spot(spot.path, place), error.code, error.message, error.hint)

    def wrong_type(self, node: Node, rule: Rule, spot: Spot, hint: str | None = None) -> None:
        place = node.place if isinstance(node, Scalar) and node.text else spot.place
        self.problems.add(
            Spot(spot.path, place), "wrong_type", f"expected {rule.what}, found {_described(node)}", hint
        )


def place_in(place: Place, text: str, offset: int) -> Place:
    """Return the position of a character of a scalar.

    It is exact for text on one line without quotes. For other forms it is the line, with the scalar's column.
    """
    lines = text.count("\n", 0, offset)
    return Place(place.line + lines, place.column + (0 if "\n" in text else offset))


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


def _or_template(phase: Phase | None, schema: JsonSchema) -> JsonSchema:
    """Return the schema of a value that may have expressions in its place, if it has a phase."""
    if phase is None:
        return schema
    template = {"type": "string", "pattern": r"\$\{\{"}
    return {"description": schema["description"], "anyOf": [schema, template]}


@dataclass(frozen=True)
class Text:
    """Any scalar except null, as written. For example, 3.10 is read as text and not as a number."""

    what: str
    parse: Callable[[str], object] = str
    pattern: str | None = None
    """The form that `parse` requires, for readers of the schema."""
    limit: int = 1024
    phase: Phase | None = None
    """When expressions in the value are evaluated. None: it takes none."""
    only: SetOf[str] | None = None
    """The contexts that expressions may use, if not all that the phase has."""
    is_template: bool = False
    """True if the model has the text with its expressions. Otherwise it goes to the templates."""

    def kept(self, text: str) -> str | None:
        """Return what the model has for a text with expressions."""
        return text if self.is_template else None

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
        return _or_template(
            self.phase,
            {
                "description": self.what,
                "type": ["string", "number", "boolean"],
                "maxLength": self.limit,
                **form,
            },
        )


@dataclass(frozen=True)
class Value:
    """A scalar except null, with its kind. It is the value of an expression's name."""

    what: str
    limit: int = 1024
    phase: Phase | None = None
    only: SetOf[str] | None = None

    def kept(self, text: str) -> MatrixValue:
        return MatrixValue(text=text)

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Scalar) or node.kind == "null":
            return reading.wrong_type(node, self, spot)
        if len(node.text) > self.limit:
            return reading.refuse(
                Spot(spot.path, node.place), "too_long", f"{self.what} may have {self.limit} characters"
            )
        return MatrixValue(text=node.text, kind=node.kind)

    def schema(self) -> JsonSchema:
        return {
            "description": self.what,
            "type": ["string", "number", "boolean"],
            "maxLength": self.limit,
        }


@dataclass(frozen=True)
class Condition:
    """An expression whose result is used as true or false, with or without `${{ }}` around it."""

    what: str
    phase: Phase
    limit: int = 8192

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if not isinstance(node, Scalar) or node.kind == "null":
            return reading.wrong_type(node, self, spot)
        spot = Spot(spot.path, node.place)
        if len(node.text) > self.limit:
            return reading.refuse(spot, "too_long", f"{self.what} may have {self.limit} characters")
        try:
            expression = parse_condition(node.text)
        except ExpressionError as error:
            return reading.refuse_expression(spot, node.text, error)
        reading.written[spot.path] = Written(node.text, expression, self.phase, node.place)
        return to_text(expression)

    def schema(self) -> JsonSchema:
        return {"description": self.what, "type": ["string", "number", "boolean"], "maxLength": self.limit}


@dataclass(frozen=True)
class Choice:
    """One word of a fixed list."""

    what: str
    code: str
    words: tuple[str, ...]
    phase: Phase | None = None

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
        return _or_template(self.phase, {"description": self.what, "enum": list(self.words)})


@dataclass(frozen=True)
class Integer:
    what: str
    least: int
    most: int
    phase: Phase | None = None
    only: SetOf[str] | None = None

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
        whole = {"description": self.what, "type": "integer", "minimum": self.least, "maximum": self.most}
        return _or_template(self.phase, whole)


@dataclass(frozen=True)
class Flag:
    what: str
    phase: Phase | None = None

    def read(self, node: Node, spot: Spot, reading: Reading) -> Any:
        if isinstance(node, Scalar) and node.kind == "boolean":
            return node.text.lower() == "true"
        return reading.wrong_type(node, self, spot, "Write true or false, without quotes.")

    def schema(self) -> JsonSchema:
        return _or_template(self.phase, {"description": self.what, "type": "boolean"})


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
