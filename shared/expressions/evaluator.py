"""The evaluator of expressions. It raises nothing but ExpressionError, and its work is bounded.

Missing names are null, as on GitHub. `&&` and `||` return one of their operands and skip the others.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from shared.expressions import jsontext
from shared.expressions.errors import ExpressionError, ExpressionLimit
from shared.expressions.nodes import (
    Call,
    Comparison,
    Expression,
    Literal,
    Logical,
    Node,
    Not,
    Reference,
    Template,
    to_text,
)
from shared.expressions.values import (
    Kind,
    Value,
    equal,
    fold,
    kind,
    less,
    scalar_text,
    to_number,
    truthy,
)

Functions = Mapping[str, Callable[..., Value]]
"""Functions that the caller supplies, by name: the status functions, and `hash`."""

RESULT_LIMIT = 64 * 1024
"""Characters of a text that an expression or a template makes."""
WORK_LIMIT = 1 << 24
"""Characters and elements that one evaluation reads. This takes about a second."""


class Work:
    """Counts the characters that an evaluation reads, up to WORK_LIMIT."""

    def __init__(self, limit: int = WORK_LIMIT) -> None:
        self.left = limit

    def charge(self, *values: Value) -> None:
        self.left -= sum(len(value) if isinstance(value, str) else 1 for value in values)
        if self.left < 0:
            raise ExpressionLimit("the expression takes too much work: its values are too long")


def evaluate(node: Node, contexts: Mapping[str, Value], functions: Functions | None = None) -> Value:
    """Return the value. Raises ExpressionError if a text is made of a list or is over RESULT_LIMIT."""
    return Evaluator(contexts, functions or {}).value(node)


def render(template: Template, contexts: Mapping[str, Value], functions: Functions | None = None) -> str:
    """Return the text with the expressions' values in it. Raises ExpressionError."""
    evaluator = Evaluator(contexts, functions or {})
    shown: list[str] = []
    size = 0
    for part in template.parts:
        text = evaluator.shown(part) if isinstance(part, Expression) else part
        size += len(text) if isinstance(part, Expression) else 0
        if size > RESULT_LIMIT:
            raise ExpressionLimit(f"the values in the text have over {RESULT_LIMIT} characters")
        shown.append(text)
    return "".join(shown)


class Evaluator:
    """Evaluates expressions with the same contexts. Their work counts together."""

    def __init__(self, contexts: Mapping[str, Value], functions: Functions) -> None:
        self._contexts = contexts
        self._functions = functions
        self._work = Work()
        self._builtins: dict[str, Callable[[Call], Value]] = {
            "contains": self._contains,
            "startsWith": self._starts_with,
            "endsWith": self._ends_with,
            "format": self._format,
            "join": self._join,
            "toJSON": self._to_json,
        }

    def shown(self, expression: Expression) -> str:
        """Return the value as text for a template."""
        return self._text(self.value(expression.node), expression.node)

    def value(self, node: Node) -> Value:
        self._work.charge(None)
        match node:
            case Literal():
                return node.value
            case Reference():
                return self._lookup(node)
            case Call():
                return self._called(node)
            case Not():
                return not truthy(self.value(node.operand))
            case Comparison():
                return self.compared(node.operator, self.value(node.left), self.value(node.right))
            case Logical():
                return self._logical(node)

    def compared(self, operator: str, left: Value, right: Value) -> bool:
        self._work.charge(left, right)
        match operator:
            case "==":
                return equal(left, right)
            case "!=":
                return not equal(left, right)
            case "<":
                return less(left, right)
            case ">":
                return less(right, left)
            case "<=":
                return less(left, right) or equal(left, right)
            case _:
                return less(right, left) or equal(left, right)

    def _logical(self, node: Logical) -> Value:
        decides = node.operator == "||"
        value: Value = None
        for operand in node.operands:
            value = self.value(operand)
            if truthy(value) is decides:
                break
        return value

    def _lookup(self, node: Reference) -> Value:
        value = self._contexts.get(node.context)
        for key in node.path:
            value = element(value, self.value(key))
        return value

    def _called(self, node: Call) -> Value:
        if node.function in self._builtins:
            return self._builtins[node.function](node)
        if node.function not in self._functions:
            raise ExpressionError(f"the function {node.function} is not known here", node.offset, node.length)
        return self._functions[node.function](*(self.value(argument) for argument in node.arguments))

    def _contains(self, node: Call) -> Value:
        search, item = (self.value(argument) for argument in node.arguments)
        if isinstance(search, list | tuple):
            return any(self.compared("==", element, item) for element in search)
        return self._matched(search, item, lambda text, part: part in text)

    def _starts_with(self, node: Call) -> Value:
        text, start = (self.value(argument) for argument in node.arguments)
        return self._matched(text, start, str.startswith)

    def _ends_with(self, node: Call) -> Value:
        text, end = (self.value(argument) for argument in node.arguments)
        return self._matched(text, end, str.endswith)

    def _matched(self, left: Value, right: Value, matches: Callable[[str, str], bool]) -> bool:
        """Compare texts without case. Lists and mappings match nothing."""
        text, part = scalar_text(left), scalar_text(right)
        if text is None or part is None:
            return False
        self._work.charge(text, part)
        return matches(fold(text), fold(part))

    def _format(self, node: Call) -> Value:
        pattern, *values = (self._text(self.value(argument), argument) for argument in node.arguments)
        pieces = format_pieces(pattern, len(values), node)
        return self._made([piece if isinstance(piece, str) else values[piece] for piece in pieces], node)

    def _join(self, node: Call) -> Value:
        first = self.value(node.arguments[0])
        separator = (
            self._text(self.value(node.arguments[1]), node.arguments[1]) if node.arguments[1:] else ","
        )
        elements = first if isinstance(first, list | tuple) else [first]
        texts: list[str] = []
        for one in elements:
            texts += [separator, self._text(one, node.arguments[0])]
        return self._made(texts[1:], node)

    def _to_json(self, node: Call) -> Value:
        return self._made(jsontext.pieces(self.value(node.arguments[0])), node)

    def _made(self, pieces: "Sequence[str] | jsontext.Pieces", node: Call) -> str:
        """Return the text of the pieces. Raises ExpressionLimit before it is too long."""
        taken: list[str] = []
        size = 0
        for piece in pieces:
            size += len(piece)
            self._work.charge(piece)
            if size > RESULT_LIMIT:
                message = f"the text that {node.function} makes has over {RESULT_LIMIT} characters"
                raise ExpressionLimit(message, node.offset, node.length)
            taken.append(piece)
        return "".join(taken)

    def _text(self, value: Value, node: Node) -> str:
        text = scalar_text(value)
        if text is None:
            what = "list" if kind(value) is Kind.LIST else "mapping"
            written = to_text(node)
            shown = written if len(written) <= 60 else "…"
            raise ExpressionError(
                f"{shown} is a {what}, which has no text",
                node.offset,
                node.length,
                f"Write toJSON({shown})" + (f" or join({shown}, ', ')." if what == "list" else "."),
                code="not_text",
            )
        self._work.charge(text)
        return text


def element(value: Value, key: Value) -> Value:
    """Return the value below a key: of a mapping by text, of a list by index. Otherwise null."""
    if isinstance(value, Mapping):
        text = scalar_text(key)
        return None if text is None else value.get(text)
    if isinstance(value, list | tuple):
        index = to_number(key)
        usable = not math.isnan(index) and 0 <= index < len(value)
        return value[int(index)] if usable else None
    return None


def format_pieces(pattern: str, count: int, node: Call) -> list[str | int]:
    """Split the pattern of `format` into texts and indexes of values. `{{` and `}}` are braces.

    Raises ExpressionError at a brace that is neither, or an index that no value has.
    """
    pieces: list[str | int] = []
    position = 0
    while position < len(pattern):
        at = min((found for brace in "{}" if (found := pattern.find(brace, position)) >= 0), default=None)
        if at is None:
            break
        pieces.append(pattern[position:at])
        if pattern[at : at + 2] in {"{{", "}}"}:
            pieces.append(pattern[at])
            position = at + 2
            continue
        end = pattern.find("}", at, at + 5)
        index = pattern[at + 1 : end] if pattern[at] == "{" and end > 0 else ""
        if not (index.isascii() and index.isdecimal()):
            raise ExpressionError(
                'a brace in the first argument of format has to be part of "{0}", "{{" or "}}"',
                node.offset,
                node.length,
                "Double it to keep it: {{ or }}.",
            )
        if int(index) >= count:
            raise ExpressionError(
                f"format has no value for {{{index}}}",
                node.offset,
                node.length,
                f"The first value after the pattern is {{0}}; there are {count}.",
            )
        pieces.append(int(index))
        position = end + 1
    pieces.append(pattern[position:])
    return pieces
