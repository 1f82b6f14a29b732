"""Quoting of foreign text in sentences for people: short, printable, and between backquotes."""

from collections.abc import Sequence

from shared.pipeline.errors import printable

_LONGEST = 79
_MOST = 10


def shown(text: str) -> str:
    """Returns the text between backquotes, shortened; characters that cannot be printed become escapes."""
    return f"`{printable(text, _LONGEST)}`"


def listed(texts: Sequence[str]) -> str:
    """Returns the first ten texts, quoted, and the number of the others: `main`, `release/**` and 3 more."""
    rest = len(texts) - _MOST
    return ", ".join(map(shown, texts[:_MOST])) + (f" and {rest} more" if rest > 0 else "")
