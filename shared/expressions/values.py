"""Values of expressions: numbers, conversions and comparisons, by the rules of GitHub's expressions.

A value is null, a boolean, a number, a text, a list or a mapping. All functions are total and take time in
proportion to the lengths of their arguments. Differences from GitHub are listed in `shared.expressions`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import TypeAlias

Value: TypeAlias = "bool | int | float | str | Sequence[Value] | Mapping[str, Value] | None"

NUMBER_TOKEN = re.compile(
    r"0x[0-9A-Fa-f]++|0o[0-7]++|[+-]?+(?:[0-9]++(?:\.[0-9]*+)?+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+"
)
"""A number as expressions and YAML write it."""

NUMBER_TEXT_LIMIT = 64
"""Characters of a text that can be a number."""
SIGNIFICANT_DIGITS = 15
"""Decimal numbers with so many digits are exact: no two of them have the same float."""
_EXPONENTS = range(-290, 291)
_HEX_DIGITS = 7
_OCTAL_DIGITS = 10
_INTEGER_BITS = 1000
_SPACE = " \t\n\v\f\r"
_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?", re.ASCII)
_UPPER = {lower: lower - 32 for lower in range(ord("a"), ord("z") + 1)}


class Kind(StrEnum):
    """The type of a value."""

    NULL = "null"
    BOOLEAN = "boolean"
    NUMBER = "number"
    TEXT = "text"
    LIST = "list"
    MAPPING = "mapping"


class Number(float):
    """A number that keeps its source text for interpolation: 3.10 stays "3.10". It compares as its value.

    A text that does not denote this value is replaced by the shortest text that does.
    """

    __slots__ = ("text",)
    text: str

    def __new__(cls, value: float, text: str | None = None) -> "Number":
        number = super().__new__(cls, _as_float(value))
        number.text = text if text is not None and _denotes(text, number) else shortest(value)
        return number

    def __getnewargs__(self) -> tuple[float, str]:  # type: ignore[override]  # the arguments of __new__
        return float(self), self.text


def kind(value: Value) -> Kind:
    """Return the value's type. A value of any other Python type counts as a mapping."""
    if value is None:
        return Kind.NULL
    if isinstance(value, bool):
        return Kind.BOOLEAN
    if isinstance(value, int | float):
        return Kind.NUMBER
    if isinstance(value, str):
        return Kind.TEXT
    return Kind.LIST if isinstance(value, list | tuple) else Kind.MAPPING


def read_number(text: str) -> float | None:
    """Return the value of a number token such as `3.10`, `-1e3`, `0xff` or `Infinity`, otherwise None."""
    if len(text) > NUMBER_TEXT_LIMIT:
        return None
    if text in {"NaN", "Infinity", "+Infinity", "-Infinity"}:
        return float(text)
    if not NUMBER_TOKEN.fullmatch(text):
        return None
    return float(int(text, 0)) if text[:2] in {"0x", "0o"} else float(text)


def to_number(value: Value) -> float:
    """Convert for a comparison. A text that is not a number, a list and a mapping become NaN.

    Decimal texts have at most 15 significant digits, so that equal numbers are equal texts apart from zeros.
    """
    if value is None:
        return 0.0
    if isinstance(value, int | float):
        return _as_float(value)
    return _text_number(value) if isinstance(value, str) else math.nan


def _text_number(text: str) -> float:
    if len(text) > NUMBER_TEXT_LIMIT:
        return math.nan
    text = text.strip(_SPACE)
    if text in {"Infinity", "-Infinity"}:
        return float(text)
    for prefix, digits, base, limit in (
        ("0x", r"[0-9A-Fa-f]+", 16, _HEX_DIGITS),
        ("0o", "[0-7]+", 8, _OCTAL_DIGITS),
    ):
        if text.startswith(prefix):
            rest = text[2:]
            fits = re.fullmatch(digits, rest) and len(rest.lstrip("0")) <= limit
            return float(int(rest, base)) if fits else math.nan
    return _decimal_number(text)


def _decimal_number(text: str) -> float:
    if not text:
        return 0.0
    found = _DECIMAL.fullmatch(text)
    whole, fraction = (found[2], found[3] or "") if found else ("", "")
    if found is None or not whole + fraction:
        return math.nan
    digits = (whole + fraction).lstrip("0")
    exponent = int(found[4] or 0) - len(fraction)
    significant = digits.rstrip("0")
    if not significant:
        return 0.0
    if len(significant) > SIGNIFICANT_DIGITS or exponent + len(digits) not in _EXPONENTS:
        return math.nan
    return float(text)


def canonical(number: float) -> str:
    """Return a text that is equal for equal numbers: sign, digits without outer zeros, `e`, exponent.

    The step driver compares numbers in this form. NaN is `nan`, which equals nothing.
    """
    if math.isnan(number):
        return "nan"
    if math.isinf(number):
        return "inf" if number > 0 else "-inf"
    sign, digits, exponent = Decimal(repr(float(number))).normalize().as_tuple()
    text = "".join(map(str, digits))
    return "0e0" if text == "0" else f"{'-' if sign else ''}{text}e{exponent}"


def scalar_text(value: Value) -> str | None:
    """Convert to text: null is empty, a number is its source text. A list and a mapping have none: None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Number):
        return value.text
    if isinstance(value, int | float):
        return shortest(value)
    return value if isinstance(value, str) else None


def literal_text(value: Value) -> str | None:
    """Return the value as it is written in an expression. A list and a mapping can't be written: None."""
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return "null" if value is None else scalar_text(value)


def truthy(value: Value) -> bool:
    """Return False for null, false, 0, NaN and the empty text."""
    if isinstance(value, int | float):
        return value != 0 and value == value  # noqa: PLR0124 - NaN is not equal to itself
    return value not in (None, "") if isinstance(value, str | None) else True


def fold(text: str) -> str:
    """Return the text for a comparison without case. Only the letters a to z are changed."""
    return text.translate(_UPPER)


def equal(left: Value, right: Value) -> bool:
    """GitHub's `==`: texts without case; values of different types as numbers; lists only by identity."""
    kinds = kind(left), kind(right)
    if kinds[0] is not kinds[1]:
        return not {Kind.LIST, Kind.MAPPING} & set(kinds) and to_number(left) == to_number(right)
    if isinstance(left, str) and isinstance(right, str):
        return left == right or (len(left) == len(right) and fold(left) == fold(right))
    if kinds[0] is Kind.NUMBER:
        return to_number(left) == to_number(right)
    return left is right


def less(left: Value, right: Value) -> bool:
    """GitHub's `<`, with the conversions of `equal`."""
    kinds = kind(left), kind(right)
    if {Kind.LIST, Kind.MAPPING} & set(kinds) or kinds == (Kind.NULL, Kind.NULL):
        return False
    if isinstance(left, str) and isinstance(right, str):
        return fold(left) < fold(right)
    return to_number(left) < to_number(right)


def _as_float(value: float) -> float:
    if isinstance(value, int) and value.bit_length() > _INTEGER_BITS:
        return math.inf if value > 0 else -math.inf
    return float(value)


def shortest(value: float) -> str:
    """Return the shortest text of a number. It is JSON for a finite one."""
    if isinstance(value, int) and value.bit_length() <= _INTEGER_BITS:
        text = str(int(value))
        return text if len(text) <= NUMBER_TEXT_LIMIT else shortest(float(value))
    number = _as_float(value)
    if math.isnan(number) or math.isinf(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    if number.is_integer() and abs(number) < 10**SIGNIFICANT_DIGITS:
        return str(int(number))
    return repr(float(number)).replace("e", "E")


def _denotes(text: str, value: float) -> bool:
    read = read_number(text)
    return read is not None and (read == value or (math.isnan(read) and math.isnan(value)))
