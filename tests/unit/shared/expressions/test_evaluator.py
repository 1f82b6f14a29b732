"""The evaluator: GitHub's comparisons, conversions and functions, and where Towpath differs."""

import json
import math
import pickle
from typing import Any

import pytest

from shared.expressions import (
    ExpressionError,
    ExpressionLimit,
    Number,
    Value,
    evaluate,
    parse,
    parse_template,
    render,
    scalar_text,
    truthy,
)

CONTEXTS: dict[str, Value] = {
    "event": {"type": "push", "branch": "main", "number": 12, "labels": ["Bug", "ui", Number(3.1, "3.10")]},
    "matrix": {"python": Number(3.1, "3.10"), "experimental": True, "none": None, "0": "zero", "true": "yes"},
    "needs": {"test": {"result": "failed", "outputs": {"3.12": {"x": "y"}}}},
    "empty": {},
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # GitHub: null is 0, false 0, true 1, the empty text 0, other texts their number or NaN
        ("null == 0", True),
        ("null == ''", True),
        ("null == false", True),
        ("null == null", True),
        ("null == 'null'", False),
        ("true == 1", True),
        ("true == '1'", True),
        ("true == 'true'", False),
        ("false == ''", True),
        ("'' == 0", True),
        ("'  ' == 0", True),
        ("'3.10' == 3.1", True),
        ("' 3 ' == 3", True),
        ("'3' == '3.0'", False),
        ("'0x1f' == 31", True),
        ("'0o17' == 15", True),
        ("'1e3' == 1000", True),
        ("'+5.' == 5", True),
        ("'.5' == 0.5", True),
        ("'1_000' == 1000", False),
        ("'Infinity' == Infinity", True),
        ("'-Infinity' == -Infinity", True),
        ("NaN == NaN", False),
        ("NaN != NaN", True),
        ("'abc' == NaN", False),
        ("-0 == 0", True),
        # texts without case
        ("'Main' == 'mAIN'", True),
        ("'main' != 'MAIN'", False),
        ("'a' < 'B'", True),
        ("'B' < 'a'", False),
        ("'É' == 'é'", False),
        # relations
        ("1 < 2", True),
        ("2 <= '2'", True),
        ("'10' > '9'", False),
        ("'10' > 9", True),
        ("'x' < 1", False),
        ("'x' >= 1", False),
        ("null < 1", True),
        ("null <= null", True),
        ("null < null", False),
        ("false < true", True),
        ("NaN <= NaN", False),
        # lists and mappings
        ("event.labels == event.labels", True),
        ("event.labels == null", False),
        ("empty == ''", False),
        ("event.labels < 1", False),
        # differs: a text with more than 15 significant digits is not a number
        ("'1234567890123456' == 1234567890123456", False),
        ("'123456789012345000' == 123456789012345000", True),
    ],
)
def test_comparisons(text: str, value: bool) -> None:
    assert evaluate(parse(text), CONTEXTS) is value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("'a' && 'b'", "b"),
        ("'' && 'b'", ""),
        ("0 || 'b'", "b"),
        ("null || false", False),
        ("'a' || missing", "a"),
        ("matrix.experimental && 'yes' || 'no'", "yes"),
        ("!''", True),
        ("!'false'", False),
        ("!NaN", True),
        ("!event.labels", False),
        ("!empty", False),
        ("missing", None),
        ("missing.a.b", None),
        ("event.missing.b", None),
        ("event.type.b", None),
        ("event.Branch", None),
        ("event.labels[0]", "Bug"),
        ("event.labels['1']", "ui"),
        ("event.labels[1.9]", "ui"),
        ("event.labels[3]", None),
        ("event.labels[-1]", None),
        ("event.labels['x']", None),
        ("matrix[0]", "zero"),
        ("matrix[true]", "yes"),
        ("needs.test.outputs['3.12'].x", "y"),
        ("needs.test.outputs[3.12].x", "y"),
        ("needs[event.labels]", None),
    ],
)
def test_names_and_operands(text: str, value: Value) -> None:
    assert evaluate(parse(text), CONTEXTS) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("contains('Hello world', 'LLO')", True),
        ("contains('abc', '')", True),
        ("contains('a3.10b', 3.10)", True),
        ("contains(null, '')", True),
        ("contains(event.labels, 'bug')", True),
        ("contains(event.labels, 'bu')", False),
        ("contains(event.labels, '3.1')", True),
        ("contains(event, 'type')", False),
        ("contains('x', event)", False),
        ("startsWith('Hello', 'he')", True),
        ("startsWith('Hello', 'lo')", False),
        ("endsWith('Hello', 'LO')", True),
        ("endsWith(12, 2)", True),
        ("format('Hello {0} {1} {0}', 'Mona', 3.10)", "Hello Mona 3.10 Mona"),
        ("format('{{{0}}}', true)", "{true}"),
        ("format('x', 1)", "x"),
        ("join(event.labels, ', ')", "Bug, ui, 3.10"),
        ("join(event.labels)", "Bug,ui,3.10"),
        ("join('a', 'x')", "a"),
        ("join(null)", ""),
        ("toJSON('a\"é')", '"a\\"é"'),
        ("toJSON(null)", "null"),
        ("toJSON(true)", "true"),
        ("toJSON(empty)", "{}"),
        ("toJSON(event.labels)", '[\n  "Bug",\n  "ui",\n  3.10\n]'),
        ("toJSON(0x1f)", "31"),
        ("toJSON(NaN)", "null"),
    ],
)
def test_functions(text: str, value: Value) -> None:
    assert evaluate(parse(text), CONTEXTS) == value


def test_json_is_read_back() -> None:
    text = evaluate(parse("toJSON(event)"), CONTEXTS)
    assert isinstance(text, str)
    assert json.loads(text) == CONTEXTS["event"]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("format('{1}', 'a')", "format has no value for {1}", "there are 1"),
        ("format('{x}', 'a')", "a brace in the first argument", "Double it"),
        ("format('}', 'a')", "a brace in the first argument", "Double it"),
        ("format('{', 'a')", "a brace in the first argument", "Double it"),
        ("format('{²}', 'a')", "a brace in the first argument", "Double it"),
        ("format('{0}', event.labels)", "event.labels is a list, which has no text", "toJSON(event.labels)"),
        ("join(event, ',')", "event is a mapping, which has no text", "toJSON(event)"),
        ("unknown()", "the function unknown is not known here", ""),
        ("success()", "the function success is not known here", ""),
    ],
)
def test_what_has_no_value_is_an_error(text: str, message: str, hint: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(parse(text), CONTEXTS)
    assert message in caught.value.message
    assert hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("python:${{ matrix.python }}", "python:3.10"),
        ("${{ matrix.none }}|${{ missing }}", "|"),
        ("${{ true }}${{ 1 == 2 }}", "truefalse"),
        ("${{ 1000000 }} ${{ 0.1 }} ${{ -2.99e-2 }}", "1000000 0.1 -2.99e-2"),
        ("${{ event.number }}", "12"),
        ("${{ '${{' }} x }}", "${{ x }}"),
    ],
)
def test_templates_are_rendered(text: str, shown: str) -> None:
    assert render(parse_template(text), CONTEXTS) == shown


def test_a_list_in_a_template_is_an_error_at_its_place() -> None:
    text = "labels: ${{ event.labels }}"
    with pytest.raises(ExpressionError) as caught:
        render(parse_template(text), CONTEXTS)
    error = caught.value
    assert text[error.offset : error.offset + error.length] == "event.labels"
    assert error.code == "not_text"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3.0, "3"),
        (1e21, "1E+21"),
        (1e-7, "1E-07"),
        (123456789012345.0, "123456789012345"),
        (12345678901234567890, "12345678901234567890"),
        (10**400, "Infinity"),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
        (Number(8, "0o10"), "0o10"),
        (Number(8, "nine"), "8"),
        (Number(math.inf, ".inf"), "Infinity"),
    ],
)
def test_numbers_as_text(value: float, shown: str) -> None:
    assert scalar_text(value) == shown


def test_a_number_is_its_value_and_its_text() -> None:
    number = Number(3.1, "3.10")
    assert (number, number.text) == (3.1, "3.10")
    copied = pickle.loads(pickle.dumps(number))  # noqa: S301 - made in this line
    assert (copied, copied.text) == (3.1, "3.10")


def test_functions_of_the_caller_get_their_values() -> None:
    functions: dict[str, Any] = {"hash": lambda *paths: "-".join(paths), "failure": lambda: True}
    assert evaluate(parse("failure() && hash('a', 'b')"), {}, functions) == "a-b"


def test_operands_that_are_skipped_are_not_evaluated() -> None:
    called: list[str] = []

    def hash_of(name: Value) -> Value:
        called.append(str(name))
        return True

    evaluate(parse("false && hash('a') || hash('b') || hash('c')"), {}, {"hash": hash_of})
    assert called == ["b"]


def test_work_and_results_are_bounded() -> None:
    contexts: dict[str, Value] = {"a": {"long": "x" * 60_000, "list": ["x" * 60_000] * 400}}
    for text in (
        "format('{0}{0}', a.long)",
        "join(a.list)",
        "toJSON(a.list)",
        "contains(a.list, 'y')" + " || contains(a.list, a.long == 'z')" * 100,
        "startsWith(a.long, a.long) && " * 200 + "true",
    ):
        with pytest.raises(ExpressionLimit):
            evaluate(parse(text), contexts)
    with pytest.raises(ExpressionLimit):
        render(parse_template("${{ a.long }}${{ a.long }}"), contexts)


def test_deep_and_recursive_values_are_bounded() -> None:
    deep: Value = "x"
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(ExpressionLimit):
        evaluate(parse("toJSON(deep)"), {"deep": deep})


@pytest.mark.parametrize(
    ("value", "counts"),
    [
        (None, False),
        (False, False),
        (0, False),
        (-0.0, False),
        (math.nan, False),
        ("", False),
        ("0", True),
        ("false", True),
        (" ", True),
        (Number(0, "0.0"), False),
        ([], True),
        ({}, True),
    ],
)
def test_values_that_count_as_true(value: Value, counts: bool) -> None:
    assert truthy(value) is counts
