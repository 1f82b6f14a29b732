"""Errors of expressions: what is wrong, where in the text, and the fix."""

from collections.abc import Iterable
from difflib import get_close_matches

_EXCERPT_LIMIT = 40


class ExpressionError(ValueError):
    """An expression that is not valid, or has no value.

    `offset` and `length` select the characters in the text that was parsed. For a template, this is the whole
    template. `code` is for programs and never changes its meaning.
    """

    def __init__(
        self,
        message: str,
        offset: int = 0,
        length: int = 0,
        hint: str | None = None,
        *,
        code: str = "bad_expression",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.hint = hint
        self.code = code


class ExpressionLimit(ExpressionError):
    """An expression or its value is larger than the limits. Retrying gives the same result."""

    def __init__(self, message: str, offset: int = 0, length: int = 0, hint: str | None = None) -> None:
        super().__init__(message, offset, length, hint, code="expression_limit")


def excerpt(text: str) -> str:
    """Return the beginning of the user's text for a message, without characters that affect a terminal."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[:_EXCERPT_LIMIT]
    )
    return shown if len(text) <= _EXCERPT_LIMIT else f"{shown}…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    if len(word) > 64:
        return None
    words = {candidate.lower(): candidate for candidate in known if len(candidate) <= 64}
    found = get_close_matches(word.lower(), words, n=1)
    return words[found[0]] if found else None
