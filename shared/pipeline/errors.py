"""What is wrong in a pipeline, where, and how to fix it: one object for the API, the command line and the
tests.

A problem never holds more of the user's text than a short excerpt, so that an error stays small whatever was
sent.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

PROBLEM_LIMIT = 100
"""More problems than anybody reads; looking stops there."""

_COMPARED_LIMIT = 40_000
"""Characters of known words that one document's mistakes are compared with; 10,000 take about 10 ms."""

Path = tuple[str | int, ...]


class Place(NamedTuple):
    """Where something stands in the text; both count from 1, columns in characters."""

    line: int
    column: int


class Spot(NamedTuple):
    """What a problem is about: its path in the document and its place in the text."""

    path: Path
    place: Place


class BadValue(ValueError):
    """A text that is not what its key wants; the reader adds the place."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


class PipelineProblem(BaseModel):
    """One thing that is wrong.

    `code` is for programs and never changes its meaning; `message` and `hint` are for people.
    """

    model_config = ConfigDict(frozen=True)

    line: int
    column: int
    path: str
    code: str
    message: str
    hint: str | None = None


class PipelineInvalid(ValueError):
    """The text is no pipeline.

    `problems` holds all that is wrong, in the order of the text, and at least one.
    """

    def __init__(self, problems: Iterable[PipelineProblem]) -> None:
        self.problems = tuple(
            sorted(problems, key=lambda problem: (problem.line, problem.column, problem.path))
        )
        super().__init__("; ".join(f"{p.line}:{p.column} {p.path}: {p.message}" for p in self.problems[:3]))


class Problems:
    """Collects problems.

    At PROBLEM_LIMIT it raises PipelineInvalid, so that no input is looked at for long.
    """

    def __init__(self) -> None:
        self.found: list[PipelineProblem] = []
        self._compared = 0

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
        """The error to raise when nothing after this place can be understood."""
        self.found.append(
            PipelineProblem(
                line=place.line, column=place.column, path="", code=code, message=message, hint=hint
            )
        )
        return PipelineInvalid(self.found)

    def nearest(self, word: str, known: Iterable[str]) -> str | None:
        """The known word that was probably meant.

        Stops searching when the document has cost enough comparisons.
        """
        words = list(known)
        self._compared += sum(map(len, words))
        return nearest(word, words) if self._compared <= _COMPARED_LIMIT else None

    def raise_if_any(self) -> None:
        if self.found:
            raise PipelineInvalid(self.found)


def path_text(path: Path) -> str:
    """`jobs.test.steps[0].run`."""
    return "".join(
        f"[{part}]" if isinstance(part, int) else f".{quotable(part, 64)}" for part in path
    ).removeprefix(".")


def quotable(text: str, limit: int = 40) -> str:
    """A user's text in a message: on one line, short, without characters that act on a terminal."""
    return printable(text.replace("\t", " "), limit)


def printable(text: str, limit: int) -> str:
    """The text's beginning, with escapes such as `\\u202e` for what can't be seen or changes how text is
    read.
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
    """The known word that was probably meant."""
    return next(iter(get_close_matches(word, list(known), n=1)), None) if len(word) <= 64 else None
