"""Partial evaluation: replaces all that is known by constants, and keeps the rest.

The scheduler fills in what it knows, and the step driver evaluates what is left. For all contexts, the
reduced expression has the value of the original.
"""

from collections.abc import Mapping, Set

from shared.expressions.errors import ExpressionError, ExpressionLimit
from shared.expressions.evaluator import Evaluator, Functions
from shared.expressions.functions import BUILTINS
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
    children,
    template_text,
    to_text,
    walk,
)
from shared.expressions.parser import OPENING, REDUCED, SAVED, Limits, parse_template
from shared.expressions.values import Kind, Value, kind, scalar_text, truthy

_BOTH_LISTS = (Kind.LIST, Kind.MAPPING)


def reduce(
    node: Node, contexts: Mapping[str, Value], keep: Set[str], functions: Functions | None = None
) -> Node:
    """Return the expression in which all that uses no name of `keep` is a constant.

    `keep` has names of contexts and functions. Functions that are neither built in nor in `functions` are
    kept too. Raises ExpressionError if a part has no value, or is a list that the rest needs as a whole.
    """
    reduced = _Reduction(contexts, keep, functions or {}).reduced(node)
    if sum(1 for _ in walk(reduced)) > REDUCED.nodes or len(to_text(reduced)) > REDUCED.characters:
        raise ExpressionLimit("the expression is too long after its known values were filled in")
    return reduced


def reduce_template(
    text: str,
    contexts: Mapping[str, Value],
    keep: Set[str],
    functions: Functions | None = None,
    limits: Limits = SAVED,
) -> str:
    """Return the template with the known values in it. It is a template again, with the same text.

    Values that contain `${{` are written such that they are not read as expressions. The type of a template
    that is one expression is lost: evaluate it instead.
    """
    reduction = _Reduction(contexts, keep, functions or {})
    parts: list[str | Expression] = []
    for part in parse_template(text, limits).parts:
        node = reduction.reduced(part.node) if isinstance(part, Expression) else None
        if isinstance(part, Expression) and node is not None and not isinstance(node, Literal):
            parts.append(Expression(node, part.offset, part.length))
            continue
        literal = part if isinstance(part, str) else _constant_text(node)
        if parts and isinstance(parts[-1], str):
            parts[-1] += literal
        else:
            parts.append(literal)
    made = template_text(Template(tuple(_escaped(part) for part in parts)))
    if len(made) > REDUCED.template_characters:
        raise ExpressionLimit("the text is too long after its known values were filled in")
    return made


def _constant_text(node: Node | None) -> str:
    value = node.value if isinstance(node, Literal) else None
    return scalar_text(value) or ""


def _escaped(part: str | Expression) -> str | Expression:
    """Keep a literal `${{` from being read as the beginning of an expression."""
    return part.replace(OPENING, f"${{{{ '{OPENING}' }}}}") if isinstance(part, str) else part


class _Reduction:
    def __init__(self, contexts: Mapping[str, Value], keep: Set[str], functions: Functions) -> None:
        self._evaluator = Evaluator(contexts, functions)
        self._keep = keep
        self._known_functions = (BUILTINS | functions.keys()) - keep

    def reduced(self, node: Node) -> Node:
        known, value = self._known(node)
        return self._literal(value, node) if known else self._partly(node)

    def _known(self, node: Node) -> tuple[bool, Value]:
        if any(self._is_kept(part) for part in walk(node)):
            return False, None
        return True, self._evaluator.value(node)

    def _is_kept(self, node: Node) -> bool:
        if isinstance(node, Reference):
            return node.context in self._keep
        return isinstance(node, Call) and node.function not in self._known_functions

    def _literal(self, value: Value, node: Node) -> Node:
        literal = Literal.of(value, node.offset, node.length)
        if literal is None:
            written = to_text(node)
            raise ExpressionError(
                f"{written if len(written) <= 60 else '…'} is a {kind(value)}, which can't be used together "
                "with values that are known later",
                node.offset,
                node.length,
                "Name one of its keys.",
            )
        return literal

    def _partly(self, node: Node) -> Node:
        match node:
            case Reference():
                return self._reference(node)
            case Call():
                return self._call(node)
            case Not():
                return Not(self.reduced(node.operand), node.offset, node.length)
            case Comparison():
                return self._comparison(node)
            case Logical():
                return self._logical(node)
            case Literal():
                return node

    def _reference(self, node: Reference) -> Node:
        if node.context not in self._keep:
            raise ExpressionError(
                f"a key of {node.context} can't be computed from a value that is known later",
                node.offset,
                node.length,
                "Name the key.",
            )
        path = tuple(self._key(self.reduced(key)) for key in node.path)
        return Reference(node.context, path, node.offset, node.length)

    def _key(self, key: Node) -> Node:
        """A boolean or null as a key selects by its text. A number may also be an index."""
        if isinstance(key, Literal) and (key.value is None or isinstance(key.value, bool)):
            return Literal.of(scalar_text(key.value), key.offset, key.length) or key
        return key

    def _call(self, node: Call) -> Node:
        if node.function == "contains" and (list_known := self._known(node.arguments[0]))[0]:
            elements = list_known[1]
            if isinstance(elements, list | tuple):
                return self._contained(elements, node)
        if node.function in {"contains", "startsWith", "endsWith"}:
            for argument in node.arguments:
                known, value = self._known(argument)
                if known and kind(value) in _BOTH_LISTS:
                    return self._literal(False, node)
        arguments = tuple(self.reduced(argument) for argument in node.arguments)
        return Call(node.function, arguments, node.offset, node.length)

    def _contained(self, elements: "list[Value] | tuple[Value, ...]", node: Call) -> Node:
        """Write `contains(list, x)` as comparisons: `x` is later, and there are no list constants."""
        item = self.reduced(node.arguments[1])
        if len(elements) > REDUCED.nodes:
            raise ExpressionLimit("the list is too long", node.offset, node.length)
        comparisons = [
            Comparison("==", literal, item, node.offset, node.length)
            for literal in map(Literal.of, elements)
            if literal is not None
        ]
        if not comparisons:
            return self._literal(False, node)
        return (
            comparisons[0]
            if len(comparisons) == 1
            else Logical("||", tuple(comparisons), node.offset, node.length)
        )

    def _comparison(self, node: Comparison) -> Node:
        for operand in children(node):
            known, value = self._known(operand)
            if known and kind(value) in _BOTH_LISTS:
                # It equals only itself, which nothing that is known later can be.
                return self._literal(node.operator == "!=", node)
        left, right = self.reduced(node.left), self.reduced(node.right)
        return Comparison(node.operator, left, right, node.offset, node.length)

    def _logical(self, node: Logical) -> Node:
        """Drop operands that can't be the result, and all after one that always is."""
        decides = node.operator == "||"
        operands: list[Node] = []
        for position, operand in enumerate(node.operands):
            known, value = self._known(operand)
            if known and truthy(value) is not decides and position < len(node.operands) - 1:
                continue
            reduced = self._literal(value, operand) if known else self._partly(operand)
            if isinstance(reduced, Logical) and reduced.operator == node.operator:
                operands += reduced.operands
            else:
                operands.append(reduced)
            if known and truthy(value) is decides:
                break
        return (
            operands[0]
            if len(operands) == 1
            else Logical(node.operator, tuple(operands), node.offset, node.length)
        )
