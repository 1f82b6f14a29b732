"""Matrices give GitHub's combinations, and each job of one has a key of its own.

The examples are those of GitHub's documentation, "Running variations of jobs in a workflow".
"""

from typing import Any

import pytest

from shared.pipeline.errors import quotable
from shared.pipeline.load import load
from shared.pipeline.matrix import LONGEST_KEY, combinations, joined, key_of, names
from shared.pipeline.model import Combination, Matrix, MatrixValue
from tests.unit.shared.pipeline.documents import as_yaml, problems_in


def matrix_of(written: dict[str, Any]) -> Matrix:
    matrix = load(document(written)).jobs[0].matrix
    assert matrix is not None
    return matrix


def document(written: dict[str, Any]) -> str:
    job = {"matrix": written, "steps": [{"run": "make"}]}
    return as_yaml({"version": 1, "repository": "octo/web", "on": {"push": {}}, "jobs": {"test": job}})


def texts(combination: Combination) -> dict[str, str]:
    return {name: value.text for name, value in combination.items()}


FRUIT = {
    "fruit": ["apple", "pear"],
    "animal": ["cat", "dog"],
    "include": [
        {"color": "green"},
        {"color": "pink", "animal": "cat"},
        {"fruit": "apple", "shape": "circle"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ],
}
FRUIT_JOBS = [
    {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
    {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
    {"fruit": "pear", "animal": "cat", "color": "pink"},
    {"fruit": "pear", "animal": "dog", "color": "green"},
    {"fruit": "banana"},
    {"fruit": "banana", "animal": "cat"},
]
SYSTEMS = {"os": ["windows", "macos", "ubuntu"], "version": ["12", "14", "16"]}
EXPANDED = {
    "os": ["windows", "ubuntu"],
    "node": ["14", "16"],
    "include": [{"os": "windows", "node": "16", "npm": "6"}],
}
ADDED = {**EXPANDED, "include": [{"os": "windows", "node": "17"}]}
ALONE = {"include": [{"site": "production", "datacenter": "a"}, {"site": "staging", "datacenter": "b"}]}
EXCLUDED = {
    **SYSTEMS,
    "environment": ["staging", "production"],
    "exclude": [
        {"os": "macos", "version": "12", "environment": "production"},
        {"os": "windows", "version": "16"},
    ],
}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            {"version": ["10", "12"], "os": ["ubuntu", "windows"]},
            [
                {"version": version, "os": system}
                for version in ("10", "12")
                for system in ("ubuntu", "windows")
            ],
        ),
        (FRUIT, FRUIT_JOBS),
        (
            EXPANDED,
            [
                {"os": "windows", "node": "14"},
                {"os": "windows", "node": "16", "npm": "6"},
                {"os": "ubuntu", "node": "14"},
                {"os": "ubuntu", "node": "16"},
            ],
        ),
        (
            ADDED,
            [
                {"os": "windows", "node": "14"},
                {"os": "windows", "node": "16"},
                {"os": "ubuntu", "node": "14"},
                {"os": "ubuntu", "node": "16"},
                {"os": "windows", "node": "17"},
            ],
        ),
        (ALONE, ALONE["include"]),
        (
            EXCLUDED,
            [
                {"os": system, "version": version, "environment": place}
                for system in SYSTEMS["os"]
                for version in SYSTEMS["version"]
                for place in ("staging", "production")
                if (system, version) != ("windows", "16")
                and (system, version, place) != ("macos", "12", "production")
            ],
        ),
        (  # "all include combinations are processed after exclude": they can add back what was excluded
            {"os": ["a", "b"], "exclude": [{"os": "a"}], "include": [{"os": "a", "more": "1"}]},
            [{"os": "b"}, {"os": "a", "more": "1"}],
        ),
        (  # an added value may be replaced by a later entry, one of an axis may not
            {"os": ["a"], "include": [{"color": "red"}, {"color": "blue"}, {"os": "a", "color": "white"}]},
            [{"os": "a", "color": "white"}],
        ),
        (  # an entry does not extend the jobs that other entries have added
            {"os": ["a"], "include": [{"os": "b"}, {"color": "red"}, {"os": "b", "color": "blue"}]},
            [{"os": "a", "color": "red"}, {"os": "b"}, {"os": "b", "color": "blue"}],
        ),
    ],
    ids=["product", "fruit", "expanding", "adding", "only-include", "exclude", "back", "replace", "added"],
)
def test_the_combinations_are_those_that_github_documents(
    written: dict[str, Any], expected: list[dict[str, str]]
) -> None:
    assert [texts(combination) for combination in combinations(matrix_of(written))] == expected


def test_values_keep_their_source_text_and_their_order() -> None:
    text = """
version: 1
repository: octo/web
on: { push: {} }
jobs:
  test:
    matrix:
      python: [3.10, "3.10 ", 0x1F, True]
      include: [{ python: 3.9, experimental: yes }]
    steps: [{ run: make }]
"""
    matrix = load(text).jobs[0].matrix
    assert matrix is not None
    assert [key_of("test", one) for one in combinations(matrix)] == [
        "test (3.10)",
        "test (3.10 )",
        "test (0x1F)",
        "test (True)",
        "test (3.9, yes)",
    ]
    assert list(names(matrix)) == ["python", "experimental"]


def one(**values: str) -> Combination:
    return {name: MatrixValue(text=text) for name, text in values.items()}


def test_a_long_key_ends_in_a_hash_of_all_values() -> None:
    keys = [key_of("test", one(a="x" * 200, b=str(number))) for number in range(20)]
    assert len(set(keys)) == 20
    assert {len(key) for key in keys} == {LONGEST_KEY}
    assert all(key.startswith("test (xxx") and "… " in key for key in keys)
    assert keys == [key_of("test", one(a="x" * 200, b=str(number))) for number in range(20)]
    fitting = "y" * (LONGEST_KEY - len("test ()"))
    assert key_of("test", one(a=fitting)) == f"test ({fitting})"
    assert key_of("test", one(a=f"{fitting}y")) != f"test ({fitting}y)"


def test_a_key_has_no_character_that_a_terminal_obeys() -> None:
    assert key_of("test", one(a="a\nb\x1b[2J\u202e")).isprintable()
    assert joined(one(a="a\nb", c="d")) == "a\nb, d"


@pytest.mark.parametrize(
    ("written", "code", "parts"),
    [
        ({"x": ["1", "1"]}, "duplicate_job", ("two combinations have the same key, test (1)", "Remove one")),
        (
            {"include": [{"a": "1, 2"}, {"a": "1", "b": "2"}]},
            "duplicate_job",
            ("two combinations have the same key, test (1, 2)", "Remove one"),
        ),
        ({"x": ["1"], "exclude": [{"x": "1"}]}, "empty", ("everything is excluded",)),
        ({"fail_fast": False}, "empty", ("no values", "include")),
        ({"python": ["1"], "exclude": [{"pyhton": "1"}]}, "unknown_axis", ("pyhton", 'mean "python"')),
        ({"x": [*range(16)], "y": [*range(16)]}, "too_many", ("gives 256 jobs", "at most 100", "Exclude")),
    ],
)
def test_a_matrix_that_gives_no_sensible_jobs_is_refused(
    written: dict[str, Any], code: str, parts: tuple[str, ...]
) -> None:
    (problem,) = problems_in(document(written))
    assert (problem.code, problem.path.startswith("jobs.test.matrix")) == (code, True)
    said = f"{problem.message} {problem.hint}"
    assert all(part in said or quotable(part) in said for part in parts), said
