"""Properties of all expressions."""

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from shared.expressions import (
    REDUCED,
    Expression,
    ExpressionError,
    Literal,
    Node,
    Phase,
    Rules,
    Template,
    Value,
    because,
    depends_on,
    evaluate,
    explain_node,
    parse,
    parse_condition,
    parse_template,
    problems,
    reduce,
    reduce_template,
    render,
    template_text,
    to_text,
)
from tests.unit.shared.expressions.strategies import CONTEXTS, contexts, nodes

PIECES = (
    "a", "b.c", ".", "[", "]", "(", ")", "'", "''", "'x'", "==", "=", "!", "!=", "<", "&&", "&", "||", ",",
    " ", "${{", "}}", "}", "{", "3", "3.10", "-1", "0x", "1e", "null", "true", "NaN", "contains(",
    "format('{0}',", "toJSON(", "success()", '"', "*", "é", "\n", "\0", "\x1b", "\ud800", "and",
)  # fmt: skip
ragged = st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
STATUS: dict[str, Any] = {
    "success": lambda: True,
    "failure": lambda: False,
    "always": lambda: True,
    "cancelled": lambda: False,
}


def caught(work: Any) -> tuple[Any, ExpressionError | None]:
    """Return the value, or None and the error."""
    try:
        return work(), None
    except ExpressionError as error:
        return None, error


def result(work: Any) -> tuple[str, Any]:
    """Return the value in a form that compares NaN and types, or the code of the error."""
    value, error = caught(work)
    if error is not None:
        return "error", error.code
    literal = Literal.of(value)
    return ("value", literal.text) if literal else ("identity", id(value))


@settings(max_examples=200)
@given(text=ragged)
def test_parsers_raise_nothing_but_their_error(text: str) -> None:
    for parser in (parse, parse_template, parse_condition):
        parsed, error = caught(lambda parser=parser: parser(text))
        if error is not None:
            assert 0 <= error.offset <= len(text)
            assert error.length >= 0
        elif not isinstance(parsed, Template):
            assert parse(to_text(parsed), REDUCED) == parsed


@settings(max_examples=150)
@given(node=nodes)
@example(node=parse("a == (b == c)"))
@example(node=parse("!(!a && b) || c['é']"))
def test_the_text_of_an_expression_is_read_as_the_same_expression(node: Node) -> None:
    assert parse(to_text(node), REDUCED) == node
    assert parse_condition(to_text(node), REDUCED) == node
    template = Template(("a ", Expression(node), " $"))
    assert parse_template(template_text(template), REDUCED) == template


@settings(max_examples=150)
@given(node=nodes, known=contexts)
def test_the_evaluator_is_total(node: Node, known: dict[str, Value]) -> None:
    for functions in (STATUS, {}):
        for work in (
            lambda functions=functions: evaluate(node, known, functions),
            lambda functions=functions: render(Template((Expression(node),)), known, functions),
        ):
            value, error = caught(work)
            assert value is None or isinstance(value, bool | int | float | str | list | dict)
            assert error is None or len(error.message) < 300


@settings(max_examples=200)
@given(node=nodes, known=contexts, keep=st.sets(st.sampled_from([*CONTEXTS, "success", "failure"])))
def test_a_reduced_expression_has_the_same_value(node: Node, known: dict[str, Value], keep: set[str]) -> None:
    """Parts that are skipped may have an error; `reduce` may report it."""
    before = {name: value for name, value in known.items() if name not in keep}
    functions = {name: value for name, value in STATUS.items() if name not in keep}
    try:
        reduced = reduce(node, before, keep, functions)
    except ExpressionError:
        return
    later = {name: value for name, value in known.items() if name in keep}
    assert not depends_on(reduced, (set(CONTEXTS) | STATUS.keys()) - keep)
    assert result(lambda: evaluate(reduced, later, STATUS)) == result(lambda: evaluate(node, known, STATUS))
    assert parse(to_text(reduced), REDUCED) == reduced


@settings(max_examples=150)
@given(
    parts=st.lists(
        st.one_of(st.text(max_size=5), st.sampled_from(["$", "${", "{{", "}}"]), nodes), max_size=4
    ),
    known=contexts,
    keep=st.sets(st.sampled_from(CONTEXTS)),
)
def test_a_reduced_template_has_the_same_text(
    parts: list[str | Node], known: dict[str, Value], keep: set[str]
) -> None:
    text = "".join(part if isinstance(part, str) else f"${{{{ {to_text(part)} }}}}" for part in parts)
    try:
        template = parse_template(text)
        before = {name: value for name, value in known.items() if name not in keep}
        reduced = reduce_template(text, before, keep, STATUS)
    except ExpressionError:
        return
    later = {name: value for name, value in known.items() if name in keep}
    assert result(lambda: render(parse_template(reduced, REDUCED), later, STATUS)) == result(
        lambda: render(template, known, STATUS)
    )


@settings(max_examples=100)
@given(node=nodes, known=contexts)
def test_reasons_are_enough_for_the_value(node: Node, known: dict[str, Value]) -> None:
    """An explanation never fails where the value exists. A constant has no reasons."""
    try:
        evaluate(node, known, STATUS)
    except ExpressionError:
        return
    reasons = because(node, known, STATUS)
    assert len({name for name, _ in reasons}) == len(reasons)
    assert "→" in explain_node(node, known, STATUS)


@settings(max_examples=100)
@given(node=nodes, phase=st.sampled_from(Phase))
def test_a_check_finds_each_context_that_its_phase_lacks(node: Node, phase: Phase) -> None:
    found = problems(node, Rules(phase))
    late = depends_on(node, {"needs", "steps"}) if phase is Phase.EVENT else depends_on(node, {"steps"})
    if phase in {Phase.EVENT, Phase.READY, Phase.CLAIM}:
        assert late == any(problem.code == "wrong_phase" for problem in found)
