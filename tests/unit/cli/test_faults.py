"""Tests of the display of an error in a pipeline: the place, the line with a mark, and the likely fix."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.faults import Fault, render
from cli.sanitize import in_columns
from tests.unit.shared.pipeline.documents import MINIMAL, problems_in, with_job


def faults_in(source: str | bytes) -> list[Fault]:
    """Return the API's `errors` for this text."""
    return [problem.model_dump() for problem in problems_in(source)]


def shown(text: str) -> str:
    return render(faults_in(text), text, "pipeline.yml")


def test_an_unknown_key_is_shown_with_the_likely_one_and_the_allowed_ones() -> None:
    assert shown(with_job("stps: []")) == (
        'pipeline.yml:8:5  jobs.test.stps: unknown key. Did you mean "steps"?\n'
        "    8 |     stps: []\n"
        "      |     ^~~~\n"
        "   Allowed here: allow_failure, checkout, cluster, env, if, image, kubernetes, matrix, name, "
        "needs, outputs, resources, retry, secrets, services, steps, stop_grace, timeout, user"
    )


def test_problems_follow_one_another() -> None:
    assert shown(with_job("cache: {}").replace("octo/web", "'web'")) == (
        'pipeline.yml:2:13  repository: "web" is not a repository\n'
        "    2 | repository: 'web'\n"
        "      |             ^~~~~\n"
        "   Write owner/name, or owner/* for all of an owner.\n"
        'pipeline.yml:8:5  jobs.test.cache: "cache" is not supported yet\n'
        "    8 |     cache: {}\n"
        "      |     ^~~~~"
    )


def test_a_problem_without_a_path_or_a_line_is_shown_too() -> None:
    assert shown("a: [1\n") == (
        "pipeline.yml:2:1  this is not YAML: did not find expected ',' or ']', while parsing a flow "
        "sequence\n"
        '   A "[" or "{" is never closed, or a comma is missing.'
    )


def test_the_file_may_have_another_name() -> None:
    assert render(faults_in(""), "", "ci/web.yml") == "ci/web.yml:1:1  the pipeline is empty"


@pytest.mark.parametrize("text", ["\ufeffcolour: red", "colour: red"])
def test_the_mark_stands_under_the_word_also_after_a_byte_order_mark(text: str) -> None:
    assert "    1 | colour: red\n      | ^~~~~~\n" in shown(text)


def test_a_long_line_is_cut_around_the_word() -> None:
    text = MINIMAL.replace("{ push: {} }", f"{{ push: {{}}, {' ' * 5000}issues: {{}}{' ' * 5000} }}")
    _, excerpt, mark, _ = shown(text).splitlines()
    assert len(excerpt) <= 130
    assert excerpt[mark.index("^") :].startswith("issues:")


def test_nothing_a_user_wrote_acts_on_the_terminal() -> None:
    assert "\x1b" not in shown("a: \x1b[31m")
    assert in_columns("a\u202eb\x1b\tc") == r"a\u202eb\x1b c"


@given(
    st.text()
    | st.lists(st.sampled_from([*"[]{}:- \t\r\n'\"", "\ufeff", "\u2028", "a: ", "on: ", "x" * 300])).map(
        "".join
    )
)
def test_every_error_of_any_text_can_be_shown(text: str) -> None:
    faults = faults_in(text)
    places = [f"pipeline.yml:{fault['line']}:{fault['column']}  " for fault in faults]
    assert [place for place in places if place not in shown(text)] == []
    assert bool(shown(text)) == bool(faults)


def test_x13_the_mark_stays_under_its_word_where_escapes_are_shown() -> None:
    fault = {"line": 1, "column": 3, "path": "x", "message": "wrong", "hint": None}
    _, line, mark = render([fault], "\u202e fo\u200bo: 1\n", "f.yml").splitlines()
    assert line.partition("| ")[2] == r"\u202e fo\u200bo: 1"
    assert mark.partition("| ")[2] == "       ^~~~~~~~~"
