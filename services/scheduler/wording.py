"""Foreign text inside sentences for people: short, printable, and marked as a quotation."""

from collections.abc import Sequence

from shared.pipeline.errors import printable

_LONGEST = 79
_MOST = 10


def shown(text: str) -> str:
    """The text between backquotes; what can't be printed becomes an escape."""
    return f"`{printable(text, _LONGEST)}`"


def listed(texts: Sequence[str]) -> str:
    """`main`, `release/**` and 3 more."""
    rest = len(texts) - _MOST
    return ", ".join(map(shown, texts[:_MOST])) + (f" and {rest} more" if rest > 0 else "")
