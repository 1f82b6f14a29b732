"""The parser of expressions and templates: what it accepts, its messages, and its limits."""

import sys
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any

import pytest

from shared.expressions import (
    Expression,
    ExpressionError,
    ExpressionLimit,
    Template,
    calls,
    names,
    parse,
    parse_condition,
    parse_template,
    template_text,
    to_text,
)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("null", "null"),
        (" true ", "true"),
        ("'it''s'", "'it''s'"),
        ("''", "''"),
        ("3.10", "3.10"),
        ("-2.99e-2", "-2.99e-2"),
        ("0xff", "0xff"),
        ("+1", "+1"),
        (".5", ".5"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("event", "event"),
        ("event . branch", "event.branch"),
        ("needs.test-all.outputs['3.12'].x", "needs.test-all.outputs['3.12'].x"),
        ("needs['test'].result", "needs.test.result"),
        ("matrix.list[0]", "matrix.list[0]"),
        ("matrix[event.type]", "matrix[event.type]"),
        ("a||b&&c==d", "a || b && c == d"),
        ("(a||b)&&c", "(a || b) && c"),
        ("a && (b && c)", "a && b && c"),
        ("!a==b", "!a == b"),
        ("!(a==b)", "!(a == b)"),
        ("a<b==c>=d", "a < b == c >= d"),
        ("a == (b == c)", "a == (b == c)"),
        ("(a == b) == c", "a == b == c"),
        ("((a))", "a"),
        ("!!a", "!!a"),
        ("toJson(x)", "toJSON(x)"),
        ("CONTAINS(a,'b')", "contains(a, 'b')"),
        ("success ( )", "success()"),
        ("\n a\n && b\t", "a && b"),
        ("unknown(1)", "unknown(1)"),
        ("true.x", None),
        ("trueish", "trueish"),
        ("_x1", "_x1"),
    ],
)
def test_an_expression_is_read_with_the_precedence_of_github(text: str, normal: str | None) -> None:
    if normal is None:
        with pytest.raises(ExpressionError):
            parse(text)
        return
    node = parse(text)
    assert to_text(node) == normal
    assert parse(normal) == node


@pytest.mark.parametrize(
    ("text", "message", "marked", "hint"),
    [
        ("a = 'x'", 'unexpected character "="', "=", "Write == to compare."),
        ("a & b", 'unexpected character "&"', "&", "Write && for and."),
        ("a and b", 'unexpected "and"', "and", "Write &&."),
        ("not a", '"not" is not an operator here', "not", "Write !."),
        ('a == "x"', 'unexpected character """', '"', "Texts have single quotes"),
        ("a == 'x", "this text has no closing quote", "'x", "Close it with '"),
        ("a ==", "the expression ends where a value is needed", "", "Write a name"),
        ("a b", 'unexpected "b"', "b", "Write an operator between values"),
        ("(a", 'this "(" is not closed', "(", 'Close it with ")".'),
        ("f(a, (b)", 'this "(" is not closed', "(", 'Close it with ")".'),
        ("a[1", 'this "[" is not closed', "[", 'Close it with "]".'),
        ("a)", 'unexpected ")"', ")", "Leave it out, or open it before."),
        ("f(a,)", '")" stands where a value is needed', ")", "Write a name"),
        ("a + 1", 'unexpected character "+"', "+", "There is no arithmetic."),
        ("a ? b : c", 'unexpected character "?"', "?", "a && b || c"),
        ("a =~ b", 'unexpected character "="', "=", "Write == to compare."),
        ("needs.*.result", 'unexpected character "*"', "*", "Filters with * are not supported."),
        ("$DB == 'x'", 'unexpected character "$"', "$", "env.NAME"),
        ("3.10.2", '"3.10.2" is not a number', "3.10.2", "Write it as a text: '3.10.2'."),
        ("0xfg", '"0xfg" is not a number', "0xfg", "Write it as a text"),
        ("matrix.3", 'unexpected ".3"', ".3", "Write a key that is no word in brackets: ['3']."),
        ("a.'b'", "a name has to follow the dot", "'b'", "a['b']"),
        ("'a'.b", '"." can\'t follow a constant', ".", "Only names have keys"),
        ("(a || b).c", '"." can\'t follow parentheses', ".", "Only names have keys"),
        ("toJSON(a).b", "\".\" can't follow a function's value", ".", "Only names have keys"),
        ("contains('a')", "contains takes 2 arguments, not 1", "contains('a')", None),
        ("success(1)", "success takes no arguments, not 1", "success(1)", None),
        ("join()", "join takes 1 or 2 arguments, not 0", "join()", None),
        ("format()", "format takes 1 or more arguments, not 0", "format()", None),
        ("", "the expression is empty", "", "Write a value"),
        ("a }} b", "}} without ${{", "}}", "Leave it out."),
        ("1" * 65, "a number has at most 64 characters", "1" * 65, None),
        ("a == \x1b[31m", 'unexpected character "\\x1b"', "\x1b", None),
    ],
)
def test_an_error_says_what_where_and_the_fix(text: str, message: str, marked: str, hint: str | None) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    error = caught.value
    assert error.message == message
    assert text[error.offset : error.offset + error.length] == marked
    assert hint is None or (error.hint is not None and hint in error.hint)
    assert error.code == "bad_expression"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ()),
        ("plain }} text", ("plain }} text",)),
        ("python:${{ matrix.python }}", ("python:", "matrix.python")),
        ("${{a}}${{ b }}", ("", "a", "", "b")),
        ("${{ 'it}}' }}!", ("", "'it}}'", "!")),
        ("$${{ a }}", ("$", "a")),
        ("$${ a }", ("$${ a }",)),
    ],
)
def test_a_template_is_text_with_expressions(text: str, parts: tuple[str, ...]) -> None:
    template = parse_template(text)
    shown = tuple(part if isinstance(part, str) else to_text(part.node) for part in template.parts)
    assert shown == tuple(filter(None, parts))
    assert parse_template(template_text(template)) == template


def test_positions_of_a_template_count_in_the_whole_text() -> None:
    text = "a ${{ event.branch }} b ${{ contains(needs.t['x'], 'y') }}"
    template = parse_template(text)
    assert [text[one.offset :][: one.length] for one in template.expressions] == [
        "${{ event.branch }}",
        "${{ contains(needs.t['x'], 'y') }}",
    ]
    assert [text[name.offset :][: name.length] for name in names(template)] == [
        "event.branch",
        "needs.t['x']",
    ]
    assert [text[call.offset :][: call.length] for call in calls(template)] == ["contains(needs.t['x'], 'y')"]


@pytest.mark.parametrize(
    ("text", "message", "offset"),
    [
        ("ab ${{ x", 'this "${{" is never closed', 3),
        ("ab ${{", 'this "${{" is never closed', 3),
        ("ab ${{ }}", "the expression is empty", 3),
        ("ab ${{ 'x }}", "this text has no closing quote", 7),
        ("ab ${{ x = y }}", 'unexpected character "="', 9),
        ("${{ a }} ${{ b c }}", 'unexpected "c"', 15),
        ("${{ ${{ a }} }}", 'unexpected character "$"', 4),
        ("${{ a }", 'unexpected character "}"', 6),
    ],
)
def test_an_error_of_a_template_has_its_position_in_the_text(text: str, message: str, offset: int) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_template(text)
    assert (caught.value.message, caught.value.offset) == (message, offset)


def test_a_single_expression_keeps_its_type() -> None:
    assert parse_template("${{ matrix.experimental }}").is_expression_only
    assert not parse_template(" ${{ matrix.experimental }}").is_expression_only
    assert parse_template("text").is_literal
    assert Template((Expression(parse("a")),)) == parse_template("${{ a }}")


def test_a_condition_is_bare_or_one_expression() -> None:
    for text in ("failure()", " ${{ failure() }} ", "${{failure()}}"):
        assert parse_condition(text) == parse("failure()")
    for text in ("${{ a }} && b", "!${{ a }}", "${{ a }}${{ b }}", "a && ${{ b }}", "${{ a }} || ${{ b"):
        with pytest.raises(ExpressionError, match="always true"):
            parse_condition(text)
    assert parse_condition("event.title == '${{ x }}'") == parse("event.title == '${{ x }}'")
    assert parse_condition("'${{' == ''") == parse("'${{' == ''")
    with pytest.raises(ExpressionError, match="never closed"):
        parse_condition("${{ a")
    with pytest.raises(ExpressionError) as caught:
        parse_condition("  ${{ a = b }}")
    assert caught.value.offset == len("  ${{ a ")


def test_names_mark_computed_keys() -> None:
    found = names(parse("needs[matrix.job].outputs['3.12'].x == event.type"))
    assert [(name.context, name.path) for name in found] == [
        ("needs", (None, "outputs", "3.12", "x")),
        ("matrix", ("job",)),
        ("event", ("type",)),
    ]
    assert found[0].text == "needs[…].outputs['3.12'].x"


# ---------------------------------------------------------------- limits


def lines_executed(work: Callable[[], Any]) -> int:
    """Count the lines of Python that run. Unlike time, the number is the same on every machine."""
    count = 0

    def tracer(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return tracer

    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


HOSTILE = {
    "nested parentheses": "(" * 10_000 + "a" + ")" * 10_000,
    "short nested parentheses": "(" * 4_000 + "a",
    "negations": "!" * 8_000 + "a",
    "brackets": "a" + "[a" * 4_000,
    "calls": "f(" * 4_000,
    "64 KiB": "a || " * 13_107,
    "a chain of or": "a||" * 2_700 + "a",
    "a chain of comparisons": "a==" * 2_700 + "a",
    "chains in chains": "(" * 30 + "a" + "==b==c==d==e==f==g==h==i==j==k==l==m)" * 30,
    "keys": "a" + ".a" * 4_000,
    "quotes": "'" * 8_191,
    "an open text": "'" + "a" * 8_000,
    "a long word": "a" * 8_000,
    "digits": "1" * 8_000,
    "spaces": " " * 8_000,
    "dots": "." * 8_000,
    "arguments": f"f({'a,' * 4_000}a)",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_costs_work_in_proportion_to_its_length(name: str) -> None:
    text = HOSTILE[name]
    for parsed, opening in ((text, parse), ("${{ " + text, parse_template)):

        def work(parsed: str = parsed, opening: Callable[[str], object] = opening) -> None:
            with pytest.raises(ExpressionError) as caught:
                opening(parsed)
            assert len(caught.value.message) < 200

        if name in {"a long word", "quotes"} and opening is parse:
            continue
        assert lines_executed(work) < 20_000 + 10 * len(text)


def test_many_expressions_in_a_template_cost_work_in_proportion() -> None:
    for count in (100, 1_000):
        text = "${{ a }}" * count
        assert lines_executed(partial(parse_template, text)) < count * 200
    parse_template("${{ a }}".ljust(65_536))
    with pytest.raises(ExpressionLimit, match="at most 65536 characters"):
        parse_template("${{ a }}".ljust(65_537))


@pytest.mark.parametrize(
    ("accepted", "refused", "message"),
    [
        ("(" * 32 + "a" + ")" * 32, "(" * 33 + "a" + ")" * 33, "at most 32 levels"),
        ("!" * 31 + "a", "!" * 32 + "a", "at most 32 levels"),
        ("a" + "==a" * 31, "a" + "==a" * 32, "at most 32 levels"),
        ("||".join("a" * 499), "||".join("a" * 500), "at most 500 values"),
        ("a".ljust(8192), "a".ljust(8193), "at most 8192 characters"),
    ],
)
def test_limits_are_exact(accepted: str, refused: str, message: str) -> None:
    parse(accepted)
    with pytest.raises(ExpressionLimit, match=message) as caught:
        parse(refused)
    assert caught.value.code == "expression_limit"
