"""Splits the text of expressions into tokens.

Each character is read once, and a token that is not valid ends the work with an error.
"""

import re
from typing import NamedTuple

from shared.expressions.errors import ExpressionError, excerpt
from shared.expressions.values import NUMBER_TEXT_LIMIT, NUMBER_TOKEN

_TOKEN = re.compile(
    rf"""
      (?P<space>[ \t\r\n]++)
    | (?P<close>\}}\}})
    | (?P<text>'(?:[^']|'')*+')
    | (?P<number>[+-]Infinity\b|{NUMBER_TOKEN.pattern})
    | (?P<word>[A-Za-z_][A-Za-z0-9_-]*+)
    | (?P<operator>==|!=|<=|>=|&&|\|\||[()\[\].,<>!])
    """,
    re.VERBOSE,
)
_WORD_GOES_ON = re.compile(r"[A-Za-z0-9_.]++")

_HINTS = {
    '"': "Texts have single quotes: 'main'. A quote inside is doubled: 'it''s'.",
    "=": "Write == to compare.",
    "&": "Write && for and.",
    "|": "Write || for or.",
    "*": "Filters with * are not supported. Name the key, or use contains(…).",
    "$": "Write the name alone, such as env.NAME, and only one ${{ … }} around the expression.",
    "?": "Write a && b || c for a choice.",
    "{": "Lists and objects can't be written in an expression.",
    "}": "Close an expression with }}.",
    "~": "There are no regular expressions. Use contains, startsWith or endsWith.",
}
_NO_ARITHMETIC = "There is no arithmetic. Compute the value in a step."


class Token(NamedTuple):
    """`kind` is text, number, word, operator, close (of a template's expression) or end."""

    kind: str
    text: str
    offset: int


def next_token(source: str, position: int) -> Token:
    """Return the token at the position, without space before it. After the last one: a token `end`."""
    found = _TOKEN.match(source, position)
    if found is not None and found.lastgroup == "space":
        position = found.end()
        found = _TOKEN.match(source, position)
    if position >= len(source):
        return Token("end", "", position)
    if found is None or found.lastgroup is None:
        raise _unexpected(source, position)
    token = Token(found.lastgroup, found[0], position)
    if token.kind == "number":
        _check_number(source, token)
    return token


def _unexpected(source: str, position: int) -> ExpressionError:
    character = source[position]
    if character == "'":
        return ExpressionError(
            "this text has no closing quote",
            position,
            len(source) - position,
            "Close it with '. A quote inside a text is doubled: 'it''s'.",
        )
    hint = _NO_ARITHMETIC if character in "+-/%" else _HINTS.get(character)
    return ExpressionError(f'unexpected character "{excerpt(character)}"', position, 1, hint)


def _check_number(source: str, token: Token) -> None:
    end = token.offset + len(token.text)
    goes_on = _WORD_GOES_ON.match(source, end)
    whole = token.text + (goes_on[0] if goes_on else "")
    if goes_on is not None:
        raise ExpressionError(
            f'"{excerpt(whole)}" is not a number',
            token.offset,
            len(whole),
            f"Write it as a text: '{excerpt(whole)}'.",
        )
    if len(whole) > NUMBER_TEXT_LIMIT:
        raise ExpressionError(
            f"a number has at most {NUMBER_TEXT_LIMIT} characters", token.offset, len(whole)
        )
