"""Tests of a problem of a pipeline as one object, and of its texts."""

import pytest

from shared.pipeline.errors import PipelineInvalid, PipelineProblem, nearest, path_text, quotable
from shared.pipeline.load import load
from tests.unit.shared.pipeline.documents import MINIMAL, problems_in, with_job


def test_a_quoted_text_does_not_act_on_the_terminal() -> None:
    assert quotable("a\u202eb\x1b\tc") == r"a\u202eb\x1b c"


def test_a_problem_is_small_for_any_document() -> None:
    for text in (
        "k" * 900 + ": 1",
        MINIMAL.replace("octo/web", "w" * 200_000),
        MINIMAL.replace("  test:", f"  ? {'t' * 200_000}\n  :"),
    ):
        for problem in problems_in(text):
            assert len(problem.model_dump_json()) < 600


def test_a_problem_is_one_object_for_programs_too() -> None:
    (problem,) = problems_in(with_job("timeout: 90"))
    assert problem.model_dump() == {
        "line": 8,
        "column": 14,
        "path": "jobs.test.timeout",
        "code": "bad_duration",
        "message": "a duration needs a unit: s, m, h or d",
        "hint": "Write 90s or 90m.",
    }
    assert PipelineProblem.model_validate_json(problem.model_dump_json()) == problem


def test_the_exception_says_the_first_problems() -> None:
    with pytest.raises(PipelineInvalid, match=r"8:5 jobs\.test\.colour: unknown key"):
        load(with_job("colour: red"))


def test_a_path_reads_as_people_write_it() -> None:
    assert path_text(("jobs", "test", "steps", 0, "run")) == "jobs.test.steps[0].run"
    assert path_text(()) == ""


def test_only_a_near_word_is_offered() -> None:
    assert nearest("stepz", ["steps", "image"]) == "steps"
    assert nearest("colour", ["steps", "image"]) is None
    assert nearest("steps" * 20, ["steps" * 20]) is None
