"""Tests that any input soon gives a pipeline or a list of problems."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.pipeline.errors import PROBLEM_LIMIT
from tests.unit.shared.pipeline.documents import MINIMAL, problems_in

SOON = timedelta(seconds=1)
SIGNS = [
    *"[]{}:,-?&*!|>'\"%@#\n\t ",
    "\n  ",
    "\n    ",
    ": ",
    "- ",
    "? ",
    "&a",
    "*a",
    "<<",
    "---",
    "...",
    "${{",
    "}}",
    "\\0",
    "\ufeff",
    "\x85",
    "\u2028",
    "\r",
]
WORDS = [
    "version",
    "on",
    "push",
    "jobs",
    "steps",
    "run",
    "needs",
    "image",
    "env",
    "x",
    "1",
    "3.10",
    "null",
    "true",
    "test",
    "9" * 30,
]
YAML_WORDS = st.sampled_from([*SIGNS, *WORDS])


def told(source: str | bytes) -> None:
    """Check the number, the places and the order of the source's problems."""
    problems = problems_in(source)
    assert len(problems) <= PROBLEM_LIMIT
    assert all(problem.line >= 1 and problem.column >= 1 for problem in problems)
    assert list(problems) == sorted(
        problems, key=lambda problem: (problem.line, problem.column, problem.path)
    )


@given(st.text() | st.text(st.characters(categories=["Cs", "Cc", "L"])))
@settings(deadline=SOON)
def test_any_text_is_answered(text: str) -> None:
    told(text)


@given(st.binary())
@settings(deadline=SOON)
def test_any_bytes_are_answered(source: bytes) -> None:
    told(source)


@given(st.lists(YAML_WORDS, max_size=60).map("".join))
@settings(deadline=SOON, max_examples=300)
def test_anything_like_yaml_is_answered(text: str) -> None:
    told(text)


@given(st.integers(0, len(MINIMAL)), st.integers(0, 20), st.lists(YAML_WORDS, max_size=8).map("".join))
@settings(deadline=SOON, max_examples=300)
def test_any_slip_in_a_right_pipeline_is_answered(at: int, removed: int, inserted: str) -> None:
    told(MINIMAL[:at] + inserted + MINIMAL[at + removed :])
