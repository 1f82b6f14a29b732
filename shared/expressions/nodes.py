"""The syntax tree of expressions, its names and calls, and its text.

Nodes are equal if they mean the same text; their positions don't count.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from shared.expressions.values import Number, Value, literal_text, scalar_text

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")


@dataclass(frozen=True, slots=True)
class Literal:
    """A constant: null, a boolean, a Number or a text. `text` is how it is written."""

    value: Value = field(compare=False)
    text: str
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)

    @classmethod
    def of(cls, value: Value, offset: int = 0, length: int = 0) -> "Literal | None":
        """Return the literal of a value, or None for a list or a mapping."""
        if isinstance(value, int | float) and not isinstance(value, bool | Number):
            value = Number(value)
        text = literal_text(value)
        return None if text is None else cls(value, text, offset, length)


@dataclass(frozen=True, slots=True)
class Reference:
    """A context and the keys below it. Keys written after a dot or as a constant are literals."""

    context: str
    path: tuple["Node", ...] = ()
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a function. The name of a known function has its canonical case."""

    function: str
    arguments: tuple["Node", ...] = ()
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Node"
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    operator: str
    left: "Node"
    right: "Node"
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Logical:
    """`&&` or `||` with two or more operands. No operand is a Logical of the same operator."""

    operator: str
    operands: tuple["Node", ...]
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


Node: TypeAlias = Literal | Reference | Call | Not | Comparison | Logical


@dataclass(frozen=True, slots=True)
class Name:
    """A use of a context. A key that is computed is None in `path`."""

    context: str
    path: tuple[str | None, ...]
    offset: int
    length: int

    @property
    def text(self) -> str:
        """The name as it is written, such as `needs.test.outputs.x`; a computed key is `[…]`."""
        return self.context + "".join("[…]" if key is None else key_text(key) for key in self.path)


@dataclass(frozen=True, slots=True)
class Expression:
    """A `${{ … }}` of a template. `offset` is that of its `$`."""

    node: Node
    offset: int = field(default=0, compare=False)
    length: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Template:
    """Text with expressions. No two literal parts follow each other."""

    parts: tuple[str | Expression, ...]

    @property
    def is_expression_only(self) -> bool:
        """True for one `${{ … }}` and nothing else: its value keeps its type."""
        return len(self.parts) == 1 and isinstance(self.parts[0], Expression)

    @property
    def is_literal(self) -> bool:
        """True if there is no expression."""
        return not self.expressions

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(part for part in self.parts if isinstance(part, Expression))


def children(node: Node) -> tuple[Node, ...]:
    match node:
        case Literal():
            return ()
        case Reference():
            return node.path
        case Call():
            return node.arguments
        case Not():
            return (node.operand,)
        case Comparison():
            return (node.left, node.right)
        case Logical():
            return node.operands


def walk(node: Node) -> Iterator[Node]:
    """Yield the node and all nodes below it, in the order of the text."""
    waiting = [node]
    while waiting:
        current = waiting.pop()
        yield current
        waiting.extend(reversed(children(current)))


def nodes_of(of: Node | Template) -> Iterator[Node]:
    """Yield all nodes of an expression, or of all expressions of a template."""
    for top in [of] if not isinstance(of, Template) else [part.node for part in of.expressions]:
        yield from walk(top)


def expression_size(of: Node | Template) -> int:
    """Return the number of names, values and operators."""
    return sum(1 for _ in nodes_of(of))


def names(of: Node | Template) -> tuple[Name, ...]:
    """Return every use of a context, in the order of the text."""
    return tuple(
        Name(node.context, tuple(constant_key(key) for key in node.path), node.offset, node.length)
        for node in nodes_of(of)
        if isinstance(node, Reference)
    )


def calls(of: Node | Template) -> tuple[Call, ...]:
    """Return every call of a function, in the order of the text."""
    return tuple(node for node in nodes_of(of) if isinstance(node, Call))


def depends_on(node: Node, names_and_functions: Set[str]) -> bool:
    """Return True if the expression uses one of these contexts or functions."""
    return any(
        (isinstance(part, Reference) and part.context in names_and_functions)
        or (isinstance(part, Call) and part.function in names_and_functions)
        for part in walk(node)
    )


def constant_key(node: Node) -> str | None:
    """Return the key that a constant selects, or None if the node is not constant."""
    return scalar_text(node.value) if isinstance(node, Literal) else None


def is_word(text: str) -> bool:
    """Return True if the text can follow a dot."""
    return (
        text.isascii()
        and text[:1].isidentifier()
        and all(character.isalnum() or character in "_-" for character in text)
    )


def key_text(key: str) -> str:
    return f".{key}" if is_word(key) else f"[{literal_text(key)}]"


def to_text(node: Node) -> str:
    """Return the expression in normal form, such that `parse(to_text(node)) == node`."""
    match node:
        case Literal():
            return node.text
        case Reference():
            return node.context + "".join(map(_path_text, node.path))
        case Call():
            return f"{node.function}({', '.join(map(to_text, node.arguments))})"
        case Not():
            return f"!{_operand(node.operand, 4)}"
        case Comparison():
            # Comparisons associate to the left, so the right operand of equal rank needs parentheses.
            rank = _rank(node)
            return f"{_operand(node.left, rank)} {node.operator} {_operand(node.right, rank + 1)}"
        case Logical():
            rank = _rank(node)
            return f" {node.operator} ".join(_operand(operand, rank + 1) for operand in node.operands)


def template_text(template: Template) -> str:
    """Return the template as text, such that `parse_template(template_text(template)) == template`."""
    return "".join(
        part if isinstance(part, str) else f"${{{{ {to_text(part.node)} }}}}" for part in template.parts
    )


def _path_text(key: Node) -> str:
    if isinstance(key, Literal) and isinstance(key.value, str):
        return key_text(key.value)
    return f"[{to_text(key)}]"


def _operand(node: Node, least: int) -> str:
    return to_text(node) if _rank(node) >= least else f"({to_text(node)})"


def _rank(node: Node) -> int:
    match node:
        case Logical():
            return 0 if node.operator == "||" else 1
        case Comparison():
            return 2 if node.operator in {"==", "!="} else 3
        case _:
            return 4
