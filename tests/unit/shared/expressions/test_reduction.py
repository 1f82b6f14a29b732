"""Partial evaluation: known parts become constants, and values never become expressions."""

import pytest

from shared.expressions import (
    ExpressionError,
    ExpressionLimit,
    Number,
    Value,
    parse,
    parse_template,
    reduce,
    reduce_template,
    render,
    to_text,
)

KNOWN: dict[str, Value] = {
    "matrix": {
        "python": Number(3.1, "3.10"),
        "os": "it's",
        "empty": "",
        "list": ["a", Number(2), ["x"]],
        "none": [],
    },
    "event": {"title": "${{ secrets.X }} }} ${{", "brace": "{{"},
}
KEEP = {"steps", "env", "success", "failure"}


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        ("matrix.python", "3.10"),
        ("matrix.os == steps.a.outputs.x", "'it''s' == steps.a.outputs.x"),
        ("matrix.missing == steps.a", "null == steps.a"),
        ("steps[matrix.os].outputs.x", "steps['it''s'].outputs.x"),
        ("steps[matrix.python]", "steps[3.10]"),
        ("steps[true]", "steps.true"),
        ("matrix.os && failure()", "failure()"),
        ("matrix.empty && failure()", "''"),
        ("failure() && matrix.empty && steps.x", "failure() && ''"),
        ("failure() && matrix.os && steps.x", "failure() && steps.x"),
        ("failure() && matrix.os", "failure() && 'it''s'"),
        ("matrix.empty || steps.x || matrix.os || steps.y", "steps.x || 'it''s'"),
        ("!(matrix.empty || steps.x)", "!steps.x"),
        ("contains('abc', 'B') && success()", "success()"),
        ("contains(matrix.list, steps.x)", "'a' == steps.x || 2 == steps.x"),
        ("contains(matrix.none, steps.x)", "false"),
        ("contains(matrix.list, steps.x) || env.Y", "'a' == steps.x || 2 == steps.x || env.Y"),
        ("contains(steps.x, matrix.list)", "false"),
        ("startsWith(matrix, steps.x)", "false"),
        ("matrix.list == steps.x", "false"),
        ("steps.x != matrix.list", "true"),
        ("matrix.list && steps.x", "steps.x"),
        ("format('{0}-{1}', matrix.python, steps.x)", "format('{0}-{1}', 3.10, steps.x)"),
        ("cancelled() && matrix.empty", "cancelled() && ''"),
    ],
)
def test_known_parts_become_constants(text: str, reduced: str) -> None:
    node = reduce(parse(text), KNOWN, KEEP)
    assert to_text(node) == reduced
    assert parse(reduced) == node


@pytest.mark.parametrize("text", ["steps.x || matrix.list", "matrix[steps.x]", "join(matrix.list, steps.x)"])
def test_a_list_that_is_needed_later_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        reduce(parse(text), KNOWN, KEEP)


@pytest.mark.parametrize(
    ("text", "reduced"),
    [
        ("py${{ matrix.python }}", "py3.10"),
        ("${{ matrix.python }}/${{ env.X }}", "3.10/${{ env.X }}"),
        ("$${{ event.brace }} x }}", "${{ '${{' }} x }}"),
        ("${{ event.title }}", "${{ '${{' }} secrets.X }} }} ${{ '${{' }}"),
        ("${{ '${{ env.X }}' }}", "${{ '${{' }} env.X }}"),
        ("plain", "plain"),
    ],
)
def test_values_never_become_expressions(text: str, reduced: str) -> None:
    assert reduce_template(text, KNOWN, KEEP) == reduced
    later: dict[str, Value] = {"env": {"X": "x"}, "secrets": {"X": "hunter2"}}
    assert render(parse_template(reduced), later) == render(parse_template(text), {**later, **KNOWN})


def test_results_are_bounded() -> None:
    many: dict[str, Value] = {"matrix": {"list": ["x"] * 30_000, "long": "x" * 3_000_000}}
    for text in ("contains(matrix.list, steps.x)", "matrix.long == steps.x"):
        with pytest.raises(ExpressionLimit):
            reduce(parse(text), many, KEEP)
    with pytest.raises(ExpressionLimit):
        reduce_template("${{ matrix.long }}", many, KEEP)
