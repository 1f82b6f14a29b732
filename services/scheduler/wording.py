"""Foreign text inside sentences for people: short, printable, and marked as a quotation."""

from collections.abc import Sequence

_LONGEST = 80
_MOST = 10


def shown(text: str) -> str:
    """The text between backquotes; what can't be printed becomes a replacement character."""
    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in cut)
    return f"`{printable}`"


def listed(texts: Sequence[str]) -> str:
    """`main`, `release/**` and 3 more."""
    rest = len(texts) - _MOST
    return ", ".join(map(shown, texts[:_MOST])) + (f" and {rest} more" if rest > 0 else "")
