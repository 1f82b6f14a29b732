"""Random expressions, values and contexts for the properties of expressions."""

from typing import Any

from hypothesis import strategies as st

from shared.expressions import Call, Comparison, Literal, Logical, Node, Not, Number, Reference, Value

TEXTS = (
    "", "0", "1", "-0", "3", "3.10", "3.1", " 3.1\t", "+3.1", "31e-1", "0x1F", "0x1f ", "0o37", "31",
    "0X1F", "1e3", "1000", "1e999", "0e999", "1e290", "1e-290", "NaN", "Infinity", "-Infinity",
    "infinity", ".5", "5.", ".", "-", "e5", "1_0", "true", "TRUE", "false", "null", "success",
    "Success", "failed", "main", "MAIN", "mAiN", "É", "é", "ß", "a", "A", "b", "a*b", "*", "?", "[a]",
    "[!a]", "\\", "\\*", "a\\", "'", '"', "$(exit 1)", "`x`", "${IFS}", "\n", "a\n", "\na", "\t", " ",
    "  a  ", "-n", "!", "(", "=", "a=b", "..", ".a.", "\x01", "\x7f", "\x81", "ā", "123456789012345",
    "1234567890123456", "0.1000000000000000055511", "~", "#", ";", "&&", "a" * 70, "0" * 63 + "1",
    "0" * 64 + "1", "towpath_x", "x\r\n", "\x0b3\x0c", "\xa03", "🦆", "%s", "\\n", "😀a", "${{ x }}",
    "}}",
)  # fmt: skip
"""Texts that shells, numbers and comparisons without case treat in a special way."""

NUMBERS = (
    Number(0), Number(-0.0), Number(1), Number(3.1, "3.10"), Number(31, "0x1F"), Number(1000, "1e3"),
    Number(0.5, ".5"), Number(float("nan")), Number(float("inf")), Number(float("-inf")),
    Number(0.1), Number(123456789012345), Number(12345678901234567890), Number(1e290),
    Number(5e-324), Number(-7),
)  # fmt: skip


def flattened(operator: str, operands: tuple[Node, ...]) -> Node:
    """Return the Logical that the parser makes of these operands."""
    flat: list[Node] = []
    for one in operands:
        flat += one.operands if isinstance(one, Logical) and one.operator == operator else [one]
    return Logical(operator, tuple(flat))


def literal(value: Value) -> Node:
    made = Literal.of(value)
    assert made is not None
    return made


numeric_texts = st.from_regex(
    r"\A[ \t]?[+-]?0{0,2}[0-9]{0,17}(\.[0-9]{0,17})?([eE][+-]?[0-9]{1,3})?\Z", fullmatch=True
)
plain_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
texts = st.one_of(st.sampled_from(TEXTS), st.sampled_from(TEXTS), numeric_texts, plain_texts)
numbers = st.one_of(
    st.sampled_from(NUMBERS),
    st.floats(width=64).map(Number),
    st.integers(-(10**30), 10**30).map(Number),
    st.integers(-20, 20).map(Number),
)
scalars: st.SearchStrategy[Value] = st.one_of(st.none(), st.booleans(), numbers, texts, texts)
literals = scalars.map(literal)

values: st.SearchStrategy[Value] = st.recursive(
    st.one_of(scalars, st.floats(), st.integers()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["a", "b", "3.10", "x-y"]), inner, max_size=3),
    ),
    max_leaves=6,
)
CONTEXTS = ("matrix", "event", "needs", "steps")
contexts = st.fixed_dictionaries({}, optional=dict.fromkeys(CONTEXTS, values))

words = st.sampled_from(["a", "b", "x-y", "3.10", "0", "1", "true", "it's", "", "A", "_1", "é"])


def _combined(
    inner: st.SearchStrategy[Node], matches: bool = False, every: bool = True
) -> st.SearchStrategy[Any]:
    pair = st.tuples(inner, inner)
    operators = ["==", "!=", "<", "<=", ">", ">="] if every else ["==", "!="]
    made: list[st.SearchStrategy[Any]] = [
        st.builds(Comparison, st.sampled_from(operators), inner, inner),
        st.builds(Comparison, st.sampled_from(["==", "!="]), inner, inner),
        st.builds(Not, inner),
        st.builds(
            flattened, st.sampled_from(["&&", "||"]), st.lists(inner, min_size=2, max_size=3).map(tuple)
        ),
        st.builds(Call, st.sampled_from(["contains", "startsWith", "endsWith"]), pair),
    ]
    if every:
        made += [
            st.builds(Call, st.just("join"), pair),
            st.builds(Call, st.just("toJSON"), st.tuples(inner)),
            st.builds(
                Call,
                st.just("format"),
                st.tuples(
                    st.sampled_from(
                        [literal("{0}"), literal("{{{1}-{0}}}"), literal("{"), literal("{2}"), literal("x")]
                    ),
                    inner,
                    inner,
                ),
            ),
            st.builds(Call, st.sampled_from(["success", "failure", "always", "cancelled"])),
            st.builds(Reference, st.sampled_from(CONTEXTS), st.tuples(inner)),
        ]
    return st.one_of(made)


references: st.SearchStrategy[Node] = st.builds(
    Reference,
    st.sampled_from(CONTEXTS),
    st.lists(st.one_of(words.map(literal), words.map(literal), literals), max_size=3).map(tuple),
)
nodes: st.SearchStrategy[Node] = st.recursive(st.one_of(literals, references), _combined, max_leaves=10)
"""Any expression, in the form that the parser makes."""

OUTPUTS = (("a", "x"), ("a", "y-z"), ("b", "x"))
RESULTS = (("a", "outcome"), ("a", "conclusion"), ("b", "outcome"))
ENVIRONMENT = ("DB", "Path_1", "x-y")

_step_references: list[Node] = [
    *(Reference("steps", (literal(step), literal("outputs"), literal(name))) for step, name in OUTPUTS),
    *(Reference("steps", (literal(step), literal(kind))) for step, kind in RESULTS),
    *(Reference("env", (literal(name),)) for name in ENVIRONMENT),
    *(Call(function) for function in ("success", "failure", "always", "cancelled")),
]
step_nodes: st.SearchStrategy[Node] = st.recursive(
    st.one_of(literals, st.sampled_from(_step_references), st.sampled_from(_step_references)),
    lambda inner: _combined(inner, every=False),
    max_leaves=6,
)
"""Expressions that the step driver can evaluate."""

_every_step_value: dict[tuple[str, ...], st.SearchStrategy[str]] = {
    **{("output", *one): texts for one in OUTPUTS},
    **{one: st.sampled_from(["success", "failed", "skipped", "cancelled"]) for one in RESULTS},
    **{("env", name): texts for name in ENVIRONMENT if name.isidentifier()},
}
step_values: st.SearchStrategy[dict[tuple[str, ...], str]] = st.fixed_dictionaries(
    {}, optional=_every_step_value
)
"""The values that steps have set, by their kind and name."""
