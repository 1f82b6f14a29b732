"""Problems of a pipeline: error, position and fix in one object for the API, the command line and the tests.

A problem quotes at most a short excerpt of the user's text, so an error stays small for any input.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

PROBLEM_LIMIT = 100
"""The search for problems stops at this number. People read fewer."""

_COMPARED_LIMIT = 16_000
"""Limit for one document, in pairs of a character of the unknown word and one of a known word.

A larger document has _COMPARED_BY_CHARACTER more for each of its characters, so that the search takes time in
proportion to the document.
"""
_COMPARED_BY_CHARACTER = 4

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """A position in the text. Line and column count from 1; columns are characters."""

    line: int
    column: int


class Spot(NamedTuple):
    """The subject of a problem: its path in the document and its position in the text."""

    path: Path
    place: Place


class BadValue(ValueError):
    """A text that is not valid for its key. The caller adds the position."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class PipelineProblem(BaseModel):
    """One problem of a pipeline.

    `code` is for programs and never changes its meaning. `message` and `hint` are for people.
    """

    model_config = ConfigDict(frozen=True)

    line: int
    column: int
    path: str
    code: str
    message: str
    hint: str | None = None


class PipelineInvalid(ValueError):
    """The text is not a valid pipeline.

    `problems` has all problems in the order of the text, at least one.
    """

    def __init__(self, problems: Iterable[PipelineProblem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.line, problem.column, problem.path))
        )
        super().__init__("; ".join(f"{p.line}:{p.column} {p.path}: {p.message}" for p in self.problems[:3]))


class Problems:
    """Collects problems.

    It raises PipelineInvalid at PROBLEM_LIMIT, so that no input is searched for long.
    """

    def __init__(self) -> None:
        self.found: list[PipelineProblem] = []
        self.text_characters = 0
        """The length of the document."""
        self._compared = 0
        self._nearest: dict[tuple[str, ...], str | None] = {}

    def add(self, spot: Spot, code: str, message: str, hint: str | None = None) -> None:
        place = spot.place
        self.found.append(
            PipelineProblem(
                line=place.line,
                column=place.column,
                path=path_text(spot.path),
                code=code,
                message=message,
                hint=hint,
            )
        )
        if len(self.found) >= PROBLEM_LIMIT:
            raise PipelineInvalid(self.found)

    def stop(self, place: Place, code: str, message: str, hint: str | None = None) -> PipelineInvalid:
        """Return the error to raise if nothing after this position can be read."""
        self.found.append(
            PipelineProblem(
                line=place.line, column=place.column, path="", code=code, message=message, hint=hint
            )
        )
        return PipelineInvalid(self.found)

    def nearest(self, word: str, known: Iterable[str]) -> str | None:
        """Return the known word that was probably meant, or None.

        Return None for a new word if its comparisons are more than the document has left.
        """
        words = tuple(known)
        if (word, *words) not in self._nearest:
            cost = len(word) * sum(map(len, words))
            limit = _COMPARED_LIMIT + _COMPARED_BY_CHARACTER * self.text_characters
            is_affordable = self._compared + cost <= limit
            self._compared += cost if is_affordable else 0
            self._nearest[word, *words] = nearest(word, words) if is_affordable else None
        return self._nearest[word, *words]

    def raise_if_any(self) -> None:
        if self.found:
            raise PipelineInvalid(self.found)


def path_text(path: Path) -> str:
    """Return the path as text, such as `jobs.test.steps[0].run`."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{quotable(part, 64)}" for part in path
    ).removeprefix(".")


def quotable(text: str, limit: int = 40) -> str:
    """Return the user's text for a message: one short line without characters that affect a terminal."""
    return printable(text.replace("\t", " "), limit)


def printable(text: str, limit: int) -> str:
    """Return the beginning of the text with escapes such as `\\u202e` for unprintable characters.

    These include invisible characters and those that change how text is read.
    """
    shown: list[str] = []
    room = limit
    for character in text[: limit + 1]:
        part = character if character.isprintable() else character.encode("unicode_escape").decode()
        room -= len(part)
        if room < 0:
            return f"{''.join(shown)}…"
        shown.append(part)
    return "".join(shown)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that was probably meant, or None."""
    return next(iter(get_close_matches(word, list(known), n=1)), None) if len(word) <= 64 else None
