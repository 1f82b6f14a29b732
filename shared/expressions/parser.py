"""The parser of expressions and templates: recursive descent, with limits for size and depth.

It takes time in proportion to the text, and raises nothing but ExpressionError.

    or         = and { "||" and }
    and        = equality { "&&" equality }
    equality   = relation { ("==" | "!=") relation }
    relation   = unary { ("<" | "<=" | ">" | ">=") unary }
    unary      = "!" unary | primary
    primary    = "(" or ")" | literal | word "(" [ or { "," or } ] ")" | word { "." word | "[" or "]" }
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from shared.expressions.errors import ExpressionError, ExpressionLimit, excerpt
from shared.expressions.functions import ARGUMENTS, CANONICAL, argument_count
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
)
from shared.expressions.tokens import Token, next_token
from shared.expressions.values import Number, read_number

OPENING = "${{"
_CONSTANTS: dict[str, bool | None] = {"null": None, "true": True, "false": False}
_NUMBER_WORDS = {"NaN", "Infinity"}
_WORD_OPERATORS = {"and": "&&", "or": "||", "not": "!", "eq": "==", "ne": "!=", "is": "=="}


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for one expression, and for the text of a template around it."""

    characters: int
    depth: int
    nodes: int
    template_characters: int


SAVED = Limits(characters=8192, depth=32, nodes=500, template_characters=65536)
"""For what users write. Lines in pipelines are far below."""
KEPT_CHARACTERS = 512
"""Syntax trees of texts up to this length are kept, because each job of a matrix needs the same ones."""
KEPT_TREES = 2048
REDUCED = Limits(characters=1 << 20, depth=64, nodes=20_000, template_characters=1 << 21)
"""For expressions in which values were filled in."""


def parse(text: str, limits: Limits = SAVED) -> Node:
    """Parse a bare expression, the inside of a `${{ … }}`. Raises ExpressionError."""
    parser = _Parser(text, 0, limits)
    node = parser.whole("end")
    if parser.token.kind == "close":
        raise ExpressionError("}} without ${{", parser.token.offset, 2, "Leave it out.")
    return node


def parse_condition(text: str, limits: Limits = SAVED) -> Node:
    """Parse an `if`: a bare expression, or one inside a single `${{ … }}`.

    Raises ExpressionError. Text outside of the `${{ … }}` is an error, because it would always be true.
    """
    return _kept_condition(text, limits) if len(text) <= KEPT_CHARACTERS else _condition(text, limits)


def _condition(text: str, limits: Limits) -> Node:
    start = len(text) - len(text.lstrip())
    try:
        if not text.startswith(OPENING, start):
            return parse(text, limits)
        template = parse_template(text.strip(), limits)
    except ExpressionError as error:
        error.offset += start if text.startswith(OPENING, start) else 0
        if text.startswith(OPENING, error.offset) and error.offset > start:
            raise _always_true(text) from None
        raise
    first = template.parts[0]
    if len(template.parts) != 1 or isinstance(first, str):
        raise _always_true(text)
    return first.node


def _always_true(text: str) -> ExpressionError:
    return ExpressionError(
        "a condition is one expression; text around ${{ … }} makes it always true",
        0,
        len(text),
        "Put the whole condition inside ${{ }}, or leave ${{ }} out.",
    )


def parse_template(text: str, limits: Limits = SAVED) -> Template:
    """Parse text with any number of `${{ … }}`. Raises ExpressionError; offsets are those in the template."""
    return _kept_template(text, limits) if len(text) <= KEPT_CHARACTERS else _template(text, limits)


def _template(text: str, limits: Limits) -> Template:
    if len(text) > limits.template_characters:
        raise ExpressionLimit(f"text with expressions has at most {limits.template_characters} characters")
    parts: list[str | Expression] = []
    end = 0
    while (start := text.find(OPENING, end)) >= 0:
        if start > end:
            parts.append(text[end:start])
        parser = _Parser(text, start + len(OPENING), limits)
        node = parser.whole("close")
        end = parser.token.offset + 2
        parts.append(Expression(node, start, end - start))
    if end < len(text):
        parts.append(text[end:])
    return Template(tuple(parts))


_kept_condition = lru_cache(KEPT_TREES)(_condition)
_kept_template = lru_cache(KEPT_TREES)(_template)


class _Parser:
    """Parses one expression that starts at a position of the source."""

    def __init__(self, source: str, position: int, limits: Limits) -> None:
        self._source = source
        self._start = position
        self._limits = limits
        self._nodes = 0
        self._nesting = 0
        self._heights: dict[int, int] = {}
        self.token = Token("end", "", position)
        self._end = position
        """The end of the token before the current one."""
        self._next = position

    def whole(self, closing: str) -> Node:
        """Parse up to the closing token, which is the current one afterwards."""
        if closing == "end" and len(self._source) > self._limits.characters:
            raise self._too_long()
        self._advance()
        if self.token.kind in {"end", "close"}:
            raise self._missing(closing)
        node = self._or()
        if self.token.kind == closing or (closing == "end" and self.token.kind == "close"):
            return node
        if self.token.kind == "end":
            raise self._unclosed()
        raise self._after_operand()

    def _advance(self) -> Token:
        """Make the next token the current one. Return the one before."""
        before = self.token
        self._end = self._next
        try:
            self.token = next_token(self._source, self._next)
        except ExpressionError as error:
            if error.length > 1 and self._start >= 3 and "no closing quote" in error.message:
                raise self._unclosed_text(error) from None
            raise
        self._next = self.token.offset + len(self.token.text)
        if self._next - self._start > self._limits.characters:
            raise self._too_long()
        return before

    def _or(self) -> Node:
        return self._logical("||", self._and)

    def _and(self) -> Node:
        return self._logical("&&", self._equality)

    def _logical(self, operator: str, operand: Callable[[], Node]) -> Node:
        start = self.token.offset
        operands = [operand()]
        while self.token.text == operator and self.token.kind == "operator":
            self._advance()
            operands.append(operand())
        if len(operands) == 1:
            return operands[0]
        flat: list[Node] = []
        for one in operands:
            flat += one.operands if isinstance(one, Logical) and one.operator == operator else [one]
        return self._made(Logical(operator, tuple(flat), start, self._end - start))

    def _equality(self) -> Node:
        return self._comparison(("==", "!="), self._relation)

    def _relation(self) -> Node:
        return self._comparison(("<", "<=", ">", ">="), self._unary)

    def _comparison(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        start = self.token.offset
        node = operand()
        while self.token.kind == "operator" and self.token.text in operators:
            operator = self._advance()
            node = self._made(Comparison(operator.text, node, operand(), start, self._end - start))
        return node

    def _unary(self) -> Node:
        if self.token.kind != "operator" or self.token.text != "!":
            return self._primary()
        operator = self._advance()
        self._deeper(operator)
        node = self._made(Not(self._unary(), operator.offset, self._end - operator.offset))
        self._nesting -= 1
        return node

    def _primary(self) -> Node:
        token = self.token
        if token.kind == "text":
            self._advance()
            return self._literal(token, token.text[1:-1].replace("''", "'"))
        if token.kind == "number" or (token.kind == "word" and token.text in _NUMBER_WORDS):
            self._advance()
            return self._literal(token, Number(read_number(token.text) or 0.0, token.text))
        if token.kind == "word" and token.text in _CONSTANTS:
            self._advance()
            return self._literal(token, _CONSTANTS[token.text])
        if token.kind == "word":
            self._advance()
            if self.token.text == "(" and self.token.kind == "operator":
                return self._call(token)
            return self._reference(token)
        if token.kind == "operator" and token.text == "(":
            return self._group(token)
        raise self._no_operand()

    def _literal(self, token: Token, value: bool | Number | str | None) -> Node:
        self._no_key_of("a constant")
        literal = Literal.of(value, token.offset, len(token.text))
        assert literal is not None  # noqa: S101 - only a list and a mapping have no literal
        return self._made(literal)

    def _group(self, opening: Token) -> Node:
        self._deeper(opening)
        self._advance()
        node = self._or()
        self._close(opening, ")")
        self._no_key_of("parentheses")
        self._nesting -= 1
        return node

    def _call(self, name: Token) -> Node:
        opening = self.token
        self._deeper(opening)
        self._advance()
        arguments: list[Node] = []
        if self.token.text != ")":
            arguments.append(self._or())
            while self.token.text == "," and self.token.kind == "operator":
                self._advance()
                arguments.append(self._or())
        self._close(opening, ")")
        self._no_key_of("a function's value")
        self._nesting -= 1
        function = CANONICAL.get(name.text.lower(), name.text)
        length = self._end - name.offset
        if function in ARGUMENTS:
            least, most = ARGUMENTS[function]
            if not least <= len(arguments) <= most:
                message = f"{function} takes {argument_count(function)}, not {len(arguments)}"
                raise ExpressionError(message, name.offset, length)
        return self._made(Call(function, tuple(arguments), name.offset, length))

    def _reference(self, name: Token) -> Node:
        path: list[Node] = []
        self._no_word_operator(name)
        while self.token.kind == "operator" and self.token.text in {".", "["}:
            opening = self._advance()
            if opening.text == ".":
                path.append(self._key())
                continue
            self._deeper(opening)
            path.append(self._or())
            self._close(opening, "]")
            self._nesting -= 1
        return self._made(Reference(name.text, tuple(path), name.offset, self._end - name.offset))

    def _key(self) -> Node:
        token = self.token
        if token.kind != "word":
            number = token.kind == "number"
            raise ExpressionError(
                "a name has to follow the dot",
                token.offset,
                max(len(token.text), 1),
                f"Write ['{excerpt(token.text)}']." if number else "Write a.b or a['b'].",
            )
        self._advance()
        literal = Literal.of(token.text, token.offset, len(token.text))
        assert literal is not None  # noqa: S101 - a text has a literal
        return self._made(literal)

    def _close(self, opening: Token, closing: str) -> None:
        if self.token.kind == "operator" and self.token.text == closing:
            self._advance()
            return
        if self.token.kind in {"end", "close"} or self.token.text in {")", "]", ","}:
            raise ExpressionError(
                f'this "{opening.text}" is not closed', opening.offset, 1, f'Close it with "{closing}".'
            )
        raise self._after_operand()

    def _no_key_of(self, what: str) -> None:
        if self.token.kind == "operator" and self.token.text in {".", "["}:
            raise ExpressionError(
                f'"{self.token.text}" can\'t follow {what}',
                self.token.offset,
                1,
                "Only names have keys: needs.test.outputs.x or needs['test'].outputs.x.",
            )

    def _no_word_operator(self, name: Token) -> None:
        operator = _WORD_OPERATORS.get(name.text.lower())
        if operator is not None and self.token.text not in {".", "["}:
            raise ExpressionError(
                f'"{name.text}" is not an operator here', name.offset, len(name.text), f"Write {operator}."
            )

    def _made(self, node: Node) -> Node:
        """Count the node. The tree's height has the limit of the nesting: readers of the tree recurse."""
        self._count(1)
        height = 1 + max((self._heights[id(child)] for child in children(node)), default=0)
        if height > self._limits.depth:
            raise self._too_deep(node.offset, node.length)
        self._heights[id(node)] = height
        return node

    def _count(self, nodes: int) -> None:
        self._nodes += nodes
        if self._nodes > self._limits.nodes:
            raise ExpressionLimit(
                f"an expression has at most {self._limits.nodes} values and operators",
                self._start,
                0,
                "Split it, or compute the value in a step.",
            )

    def _deeper(self, token: Token) -> None:
        self._nesting += 1
        if self._nesting > self._limits.depth:
            raise self._too_deep(token.offset, len(token.text))

    def _too_deep(self, offset: int, length: int) -> ExpressionError:
        message = f"an expression is nested at most {self._limits.depth} levels deep"
        return ExpressionLimit(message, offset, length, "Simplify it, or compute the value in a step.")

    def _too_long(self) -> ExpressionError:
        message = f"an expression has at most {self._limits.characters} characters"
        return ExpressionLimit(message, self._start, 0, "Split it, or compute the value in a step.")

    def _unclosed(self) -> ExpressionError:
        start = self._start - len(OPENING)
        return ExpressionError('this "${{" is never closed', start, 3, "Close it with }}.")

    def _unclosed_text(self, error: ExpressionError) -> ExpressionError:
        return ExpressionError(error.message, error.offset, 1, error.hint)

    def _missing(self, closing: str) -> ExpressionError:
        if closing == "close" and self.token.kind == "end":
            return self._unclosed()
        start = self._start - (len(OPENING) if closing == "close" else 0)
        return ExpressionError(
            "the expression is empty", start, self._next - start, "Write a value, such as event.branch."
        )

    def _no_operand(self) -> ExpressionError:
        token = self.token
        if token.kind in {"end", "close"}:
            message = "the expression ends where a value is needed"
        else:
            message = f'"{excerpt(token.text)}" stands where a value is needed'
        hint = "Write a name, a constant or a function."
        return ExpressionError(message, token.offset, max(len(token.text), 1), hint)

    def _after_operand(self) -> ExpressionError:
        token = self.token
        operator = _WORD_OPERATORS.get(token.text.lower())
        if token.kind == "number" and token.text.startswith("."):
            hint = f"Write a key that is no word in brackets: ['{excerpt(token.text[1:])}']."
        elif token.text in {")", "]"}:
            hint = "Leave it out, or open it before."
        elif operator:
            hint = f"Write {operator}."
        else:
            hint = "Write an operator between values: ==, !=, <, >, && or ||."
        return ExpressionError(f'unexpected "{excerpt(token.text)}"', token.offset, len(token.text), hint)
