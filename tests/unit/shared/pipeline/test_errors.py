"""How people meet an error: the place, the line with a mark under the word, the fix."""

import pytest

from shared.pipeline.errors import PipelineInvalid, PipelineProblem, nearest, path_text, quotable, render
from shared.pipeline.load import load
from tests.unit.shared.pipeline.documents import MINIMAL, problems_in, with_job


def shown(text: str | bytes) -> str:
    return render(problems_in(text), text)


def test_an_unknown_key_is_shown_with_the_likely_one_and_the_allowed_ones() -> None:
    assert shown(with_job("stps: []")) == (
        'pipeline.yml:8:5  jobs.test.stps: unknown key. Did you mean "steps"?\n'
        "    8 |     stps: []\n"
        "      |     ^~~~\n"
        "   Allowed here: checkout, env, image, kubernetes, needs, resources, retry, services, steps, timeout, user"
    )


def test_problems_follow_one_another() -> None:
    assert shown(MINIMAL.replace("octo/web", "'web'").replace("{ push: {} }", "{ push: {}, manual: {} }")) == (
        'pipeline.yml:2:13  repository: "web" is not a repository\n'
        "    2 | repository: 'web'\n"
        "      |             ^~~~~\n"
        "   Write owner/name, or owner/* for all of an owner.\n"
        'pipeline.yml:3:17  on.manual: "manual" is not supported yet\n'
        "    3 | on: { push: {}, manual: {} }\n"
        "      |                 ^~~~~~"
    )


def test_a_problem_without_a_path_or_a_line_is_shown_too() -> None:
    assert shown("a: [1\n") == (
        "pipeline.yml:2:1  this is not YAML: did not find expected ',' or ']', while parsing a flow sequence\n"
        '   A "[" or "{" is never closed, or a comma is missing.'
    )


def test_the_file_may_have_another_name() -> None:
    assert render(problems_in(""), "", "ci/web.yml") == "ci/web.yml:1:1  the pipeline is empty"


@pytest.mark.parametrize("text", [b"\xef\xbb\xbfcolour: red", "\ufeffcolour: red", "colour: red"])
def test_the_mark_stands_under_the_word_whatever_begins_the_file(text: str | bytes) -> None:
    assert "    1 | colour: red\n      | ^~~~~~\n" in shown(text)


def test_a_long_line_is_cut_around_the_word() -> None:
    text = MINIMAL.replace("{ push: {} }", f"{{ push: {{}}, {' ' * 5000}manual: {{}}{' ' * 5000} }}")
    _, excerpt, mark = shown(text).splitlines()
    assert len(excerpt) <= 130
    assert excerpt[mark.index("^") :].startswith("manual:")


def test_nothing_a_user_wrote_acts_on_the_terminal() -> None:
    assert "\x1b" not in shown("a: \x1b[31m")
    assert quotable("a\u202eb\x1b\tc") == "a�b� c"


def test_a_problem_is_small_whatever_was_sent() -> None:
    for text in ("k" * 900 + ": 1", MINIMAL.replace("octo/web", "w" * 200_000), MINIMAL.replace("  test:", f"  ? {'t' * 200_000}\n  :")):
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
