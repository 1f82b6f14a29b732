"""Writes values as JSON, indented like GitHub's `toJSON`.

Pieces are made one by one, so that the reader can stop at its limit.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from shared.expressions.errors import ExpressionLimit
from shared.expressions.values import Number, Value, scalar_text, shortest

Pieces: TypeAlias = Iterator[str]

_DEPTH_LIMIT = 64
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def pieces(value: Value, depth: int = 0) -> Pieces:
    """Yield the JSON text in pieces. Raises ExpressionLimit for values that are nested too deep."""
    if depth > _DEPTH_LIMIT:
        raise ExpressionLimit(f"toJSON writes at most {_DEPTH_LIMIT} levels")
    if isinstance(value, str):
        yield json.dumps(value, ensure_ascii=False)
    elif isinstance(value, float) and not math.isfinite(value):
        yield "null"
    elif isinstance(value, Mapping):
        members = ((json.dumps(str(key), ensure_ascii=False) + ": ", one) for key, one in value.items())
        yield from _block("{}", members, depth)
    elif isinstance(value, list | tuple):
        yield from _block("[]", (("", one) for one in value), depth)
    else:
        yield _plain(value if isinstance(value, int | float) else None)


def _plain(value: float | None) -> str:
    """Write a number with its source text if JSON has this form."""
    text = scalar_text(value)
    if isinstance(value, Number) and not _JSON_NUMBER.fullmatch(value.text):
        return shortest(float(value))
    return text or "null"


def _block(brackets: str, members: Iterator[tuple[str, Value]], depth: int) -> Pieces:
    opening, closing = brackets[0], brackets[1]
    separator = opening
    for key, value in members:
        yield f"{separator}\n{'  ' * (depth + 1)}{key}"
        yield from pieces(value, depth + 1)
        separator = ","
    yield brackets if separator == opening else f"\n{'  ' * depth}{closing}"
