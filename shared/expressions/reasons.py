"""Explains the value of an expression by the names and calls that decided it.

Operands that were skipped, and operands that could not have changed the result, are left out: for
`a && b`, which is false because of `b`, the reason is `b` alone.
"""

from collections.abc import Mapping

from shared.expressions.errors import excerpt
from shared.expressions.evaluator import Evaluator, Functions, element
from shared.expressions.functions import BUILTINS, STATUS_FUNCTIONS
from shared.expressions.nodes import (
    Call,
    Literal,
    Logical,
    Node,
    Not,
    Reference,
    calls,
    children,
    key_text,
    to_text,
)
from shared.expressions.parser import parse_condition
from shared.expressions.values import Value, literal_text, scalar_text, truthy

HIDDEN = "***"
"""Shown instead of the value of a secret."""

Reason = tuple[str, Value]
"""A name or a call, as text, and its value."""


def because(
    node: Node, contexts: Mapping[str, Value], functions: Functions | None = None
) -> tuple[Reason, ...]:
    """Return the names and calls that decided the value, in the order of the text. Raises ExpressionError."""
    found = _Reasons(contexts, functions or {}).of(node)[1]
    return tuple(dict(reversed(found)).items())[::-1] if found else ()


def explain(
    text: str, contexts: Mapping[str, Value], functions: Functions | None = None, key: str = "if"
) -> str:
    """Return a sentence such as `if: a == 'x' → false because a = 'y'`. Raises ExpressionError."""
    return explain_node(parse_condition(text), contexts, functions, key)


def explain_node(
    node: Node, contexts: Mapping[str, Value], functions: Functions | None = None, key: str = "if"
) -> str:
    """Like `explain`, for an expression that is parsed."""
    value, _ = _Reasons(contexts, functions or {}).of(node)
    reasons = because(node, contexts, functions)
    result = f"{key}: {to_text(node)} → {'true' if truthy(value) else 'false'}"
    if not reasons:
        return result
    return f"{result} because {' and '.join(f'{name} = {_shown(one)}' for name, one in reasons)}"


def with_status(node: Node, function: str = "success") -> Node:
    """Return the condition with a status function: without one, it is `success() && (…)`."""
    if any(call.function in STATUS_FUNCTIONS for call in calls(node)):
        return node
    rest = node.operands if isinstance(node, Logical) and node.operator == "&&" else (node,)
    return Logical("&&", (Call(function), *rest), node.offset, node.length)


class _Reasons:
    """Evaluates, and returns each value with its reasons."""

    def __init__(self, contexts: Mapping[str, Value], functions: Functions) -> None:
        self._contexts = contexts
        self._evaluator = Evaluator(contexts, functions)

    def of(self, node: Node) -> tuple[Value, list[Reason]]:
        match node:
            case Literal():
                return node.value, []
            case Logical():
                return self._logical(node)
            case Not():
                value, reasons = self.of(node.operand)
                return not truthy(value), reasons
            case Reference():
                return self._reference(node)
            case Call() if node.function not in BUILTINS:
                value = self._evaluator.value(node)
                return value, [(to_text(node), value)]
            case _:
                reasons = [reason for child in children(node) for reason in self.of(child)[1]]
                return self._evaluator.value(node), reasons

    def _logical(self, node: Logical) -> tuple[Value, list[Reason]]:
        decides = node.operator == "||"
        every: list[Reason] = []
        value: Value = None
        for operand in node.operands:
            value, reasons = self.of(operand)
            if truthy(value) is decides:
                return value, reasons
            every += reasons
        return value, every

    def _reference(self, node: Reference) -> tuple[Value, list[Reason]]:
        value: Value = self._contexts.get(node.context)
        text = node.context
        reasons: list[Reason] = []
        for child in node.path:
            key, of_key = self.of(child)
            reasons += of_key
            value = element(value, key)
            text += key_text(key) if isinstance(key, str) else f"[{scalar_text(key) or '…'}]"
        return value, [*reasons, (text, HIDDEN if node.context == "secrets" else value)]


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return f"'{excerpt(value)}'"
    return literal_text(value) or ("a list" if isinstance(value, list | tuple) else "a mapping")
