"""Tests of the strict, bounded YAML of pipelines."""

import time

import pytest

from shared.pipeline.errors import Place, Problems
from shared.pipeline.yaml import Mapping, Node, Scalar, Sequence, compose
from tests.unit.shared.pipeline.documents import MINIMAL, codes_in, problems_in, with_job, with_top


def tree(text: str | bytes) -> Node:
    problems = Problems()
    node = compose(text, problems)
    problems.raise_if_any()
    return node


def scalar(text: str) -> Scalar:
    node = tree(f"[{text}]")
    assert isinstance(node, Sequence)
    (item,) = node.items
    assert isinstance(item, Scalar)
    return item


@pytest.mark.parametrize(
    ("space", "name"),
    [
        ("\u00a0", "U+00A0 (no-break space)"),
        ("\u3000", "U+3000 (ideographic space)"),
        ("\u200b", "U+200B (zero width space)"),
    ],
)
@pytest.mark.parametrize("before", ["jobs:\n", "jobs:\n  only:\n  "])
def test_a16_a_wrong_space_in_the_indentation_is_named(space: str, name: str, before: str) -> None:
    text = f"version: 1\nrepository: octo/web\non: {{ push: {{}} }}\n{before}{space}{space}steps: []\n"
    found = [problem for problem in problems_in(text) if problem.code == "bad_character"]
    line, column = 4 + before.count("\n"), len(before) - before.rindex("\n")
    assert [(problem.line, problem.column) for problem in found] == [(line, column)]
    assert name in found[0].message


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("on", "text"),
        ("off", "text"),
        ("yes", "text"),
        ("no", "text"),
        ("Y", "text"),
        ("true", "boolean"),
        ("False", "boolean"),
        ("tRue", "text"),
        ("'true'", "text"),
        ("null", "null"),
        ("~", "null"),
        ("nothing", "text"),
        ("12", "integer"),
        ("-12", "integer"),
        ("0o17", "integer"),
        ("0x1F", "integer"),
        ("'12'", "text"),
        ("3.10", "float"),
        (".5", "float"),
        ("1e3", "float"),
        (".inf", "float"),
        (".NaN", "float"),
        ("1:30", "text"),
        ("1_000", "text"),
        ("2026-11-23", "text"),
        ("1.2.3", "text"),
        ("-", "text"),
    ],
)
def test_scalars_are_read_as_in_yaml_1_2(text: str, kind: str) -> None:
    if text == "-":
        text = "--"
    assert scalar(text).kind == kind
    assert scalar(text).text == text.strip("'")


def test_every_node_keeps_its_place() -> None:
    root = tree("a: 1\nb:\n  - x\n  - é: [y, 'z']\n")
    assert isinstance(root, Mapping)
    (_, a), (b_key, b) = root.items
    assert (a.place, b_key.place) == (Place(1, 4), Place(2, 1))
    assert isinstance(b, Sequence)
    inner = b.items[1]
    assert isinstance(inner, Mapping)
    ((key, value),) = inner.items
    assert (key.place, value.place) == (Place(4, 5), Place(4, 8))
    assert isinstance(value, Sequence)
    assert value.items[1].place == Place(4, 12)


@pytest.mark.parametrize(
    "source",
    [
        f"\ufeff{MINIMAL}",
        b"\xef\xbb\xbf" + MINIMAL.encode(),
        MINIMAL.replace("\n", "\r\n"),
        f"---\n{MINIMAL}...\n",
    ],
)
def test_what_editors_add_does_no_harm(source: str | bytes) -> None:
    assert codes_in(source) == []


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_lines_are_counted_with_any_line_ending(newline: str) -> None:
    (problem,) = problems_in(with_job("colour: red").replace("\n", newline))
    assert (problem.line, problem.column) == (8, 5)


UNREADABLE = [
    ("", "empty", 1, 1),
    ("# only a comment\n", "empty", 1, 1),
    ("---\n...\n", "empty", 1, 1),
    ("a: \0", "bad_character", 1, 4),
    ("a: 1\nb: \x07", "bad_character", 2, 4),
    ("a: \ud800", "bad_character", 1, 4),
    (b"a: 1\nb: \xed\xa0\x80", "bad_character", 2, 4),
    (b"\xff\xfea\0", "bad_character", 1, 1),
    ("a: 1\n---\nb: 2\n", "several_documents", 2, 1),
    ("%YAML 1.2\n---\na: 1\n", "yaml_directive", 1, 1),
    ("a:\n\tb: 1", "yaml_syntax", 2, 1),
    ("a: b: c", "yaml_syntax", 1, 5),
    ("a: @x", "yaml_syntax", 1, 4),
    ("a: [1", "yaml_syntax", 2, 1),
    ("a: 'x", "yaml_syntax", 1, 6),
    ("a: [*]", "yaml_syntax", 1, 6),
    ('a: "\\ud800"', "yaml_syntax", 1, 7),
    ("- a\nb: 1", "yaml_syntax", 2, 1),
    ("a: " + "[" * 40 + "]" * 40, "too_deep", 1, 35),
    ("x" * (256 * 1024 + 1), "too_large", 1, 1),
    ("é" * (128 * 1024 + 1), "too_large", 1, 1),
]


@pytest.mark.parametrize(("source", "code", "line", "column"), UNREADABLE)
def test_where_nothing_can_be_read_further_the_place_is_told(
    source: str | bytes, code: str, line: int, column: int
) -> None:
    (problem,) = problems_in(source)
    assert (problem.code, problem.line, problem.column) == (code, line, column)


READABLE = [
    ("name: a\nname: b", "duplicate_key", "name", 1),
    ("name: !secret x", "yaml_tag", "name", 7),
    ("name: !!str x", "yaml_tag", "name", 7),
    ("name: *nobody", "unknown_alias", "name", 7),
    ("env: { <<: { A: b } }", "merge_key", "env.<<", 8),
    ("env: { { x }: y }", "bad_key", "env", 8),
    ("env: { ? [a] : y }", "bad_key", "env", 10),
    ('name: "\\0"', "bad_character", "name", 7),
]


@pytest.mark.parametrize(("lines", "code", "path", "column"), READABLE)
def test_what_leaves_the_rest_readable_is_told_together_with_the_rest(
    lines: str, code: str, path: str, column: int
) -> None:
    first, second = problems_in(with_top(f"{lines}\ncolour: red"))
    assert (first.code, first.path, first.column) == (code, path, column)
    assert (second.code, second.path) == ("unknown_key", "colour")


def test_an_anchor_may_be_used_again() -> None:
    assert codes_in(with_top("env: &env { A: b }").replace("    steps:", "    env: *env\n    steps:")) == [
        "unknown_alias"
    ]
    assert codes_in(MINIMAL.replace("\non:", "\nenv: &env { A: b }\non:") + "    env: *env\n") == []


def bomb(levels: int) -> str:
    return "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, levels)
    )


HOSTILE = {
    "flow sequences": "[" * 30_000,
    "flow sequences to the limit": "[" * 256 * 1024,
    "flow sequences on lines": "[\n" * 100_000,
    "flow mappings": "{a: " * 30_000,
    "explicit keys": "? " * 30_000,
    "block sequences": "- " * 30_000,
    "an alias bomb": bomb(20),
    "a text alias bomb": "a: &a " + "x" * 200_000 + "\nb: [" + "*a, " * 9_000 + "]",
    "an anchor that holds itself": "&a [*a]",
    "directives": "".join(f"%TAG !{i}! x\n" for i in range(15_000)),
    "duplicate keys": "a: 1\n" * 50_000,
    "a long key": "a" * 200_000 + ": 1",
    "a long integer": MINIMAL.replace("version: 1", f"version: {'9' * 5_000}"),
    "a long integer where text is wanted": with_top(f"name: {'9' * 5_000}"),
    "a command of a megabyte": MINIMAL.replace("make test", "x" * 1_000_000),
    "unknown keys": "\n".join(f"unknown{i}: 1" for i in range(5_000)),
    "steps": MINIMAL + "      - run: x\n" * 5_000,
    "jobs that all wait for one another": MINIMAL
    + "".join(
        f"  j{i}: {{ needs: [{', '.join(f'j{k}' for k in range(60) if k != i)}], steps: [{{ run: x }}] }}\n"
        for i in range(60)
    ),
    "an image that is almost right": with_job(f"image: {'a-' * 250}!"),
    "comments": "#\n" * 100_000,
    "spaces": " " * 250_000,
    "quotes": '"' * 250_000,
}


@pytest.mark.alone("measures processor time")
@pytest.mark.parametrize("source", [pytest.param(source, id=name) for name, source in HOSTILE.items()])
def test_hostile_yaml_is_refused_within_a_quarter_of_a_second(source: str) -> None:
    def seconds() -> float:
        start = time.process_time()
        assert problems_in(source)
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.25


def test_nodes_are_counted_with_aliases_followed() -> None:
    assert codes_in("[" + "a, " * 20_001 + "]") == ["too_many_nodes"]
    assert codes_in(bomb(8)) == ["too_many_nodes"]


def test_nesting_is_counted_with_aliases_followed() -> None:
    assert codes_in("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20)[-1] == "too_deep"
