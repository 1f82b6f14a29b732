"""Tests of the keys that begin with `x-`: nothing in them is read, and aliases can use their anchors."""

import pytest
from jsonschema import Draft202012Validator

from shared.pipeline.load import load
from shared.pipeline.schema import json_schema
from shared.pipeline.yaml import NODE_LIMIT
from tests.unit.shared.pipeline.documents import MINIMAL, codes_in, problems_in, with_job, with_step, with_top

ANCHORED = """\
version: 1
repository: octo/web
x-env: &env { LEVEL: quick }
x-steps:
  - &install { name: install, run: pip install -e . }
on: { push: {} }
jobs:
  lint: { env: *env, steps: [*install, { run: ruff check . }] }
  test: { env: *env, steps: [*install, { run: pytest }] }
"""


def test_an_anchor_in_a_free_key_can_be_used_in_the_jobs() -> None:
    pipeline = load(ANCHORED)
    assert [job.env for job in pipeline.jobs] == [{"LEVEL": "quick"}] * 2
    assert [job.steps[0].run for job in pipeline.jobs] == ["pip install -e ."] * 2


@pytest.mark.parametrize(
    "value",
    ["", "text", "[1, [2]]", "{ on: 1, jobs: [], 9lives: {} }", "'${{ secrets.X'", "{ a: { b: '${{ }}' } }"],
)
def test_a_free_key_takes_any_value_and_changes_nothing(value: str) -> None:
    assert load(with_top(f"x-any: {value}")) == load(MINIMAL)


def test_any_number_of_free_keys_may_stand_at_the_top() -> None:
    assert load(with_top("\n".join(f"x-{i}: {{ run: 1 }}" for i in range(500)))) == load(MINIMAL)


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("x-a: { b: 1, b: 2 }", "duplicate_key"),
        ("x-a: 1\nx-a: 2", "duplicate_key"),
        ("x-a: !secret b", "yaml_tag"),
        ("x-a: *nobody", "unknown_alias"),
        ("x-a: { <<: {} }", "merge_key"),
        (f"x-a: {'[' * 40}{']' * 40}", "too_deep"),
        (f"x-a: [{'b, ' * NODE_LIMIT}]", "too_many_nodes"),
    ],
)
def test_the_rules_of_yaml_hold_in_free_keys_too(lines: str, code: str) -> None:
    assert codes_in(with_top(lines)) == [code]


@pytest.mark.parametrize(
    "text", [with_job("x-a: 1"), with_step("x-a: 1"), with_top("x_a: 1"), with_top("X-a: 1")]
)
def test_only_the_top_has_free_keys(text: str) -> None:
    assert codes_in(text) == ["unknown_key"]


def test_what_an_anchor_holds_is_checked_where_it_is_used() -> None:
    text = (
        MINIMAL.replace("\non:", "\nx-job: &job { steps: [{ run: 1, colour: red }] }\non:")
        + "  other: *job\n"
    )
    assert [(problem.code, problem.path) for problem in problems_in(text)] == [
        ("unknown_key", "jobs.other.steps[0].colour")
    ]


def test_an_unknown_key_at_the_top_is_answered_with_the_free_ones_too() -> None:
    (problem,) = problems_in(with_top("zzzz: 1"))
    assert (problem.hint or "").endswith("version, x-…")


def test_the_schema_has_free_keys_at_the_top_alone() -> None:
    validator = Draft202012Validator(json_schema())
    document = {"version": 1, "repository": "octo/web", "on": {"push": None}}
    step = {"run": "x"}
    assert validator.is_valid({**document, "x-a": [None], "jobs": {"test": {"steps": [step]}}})
    assert not validator.is_valid({**document, "y-a": 1, "jobs": {"test": {"steps": [step]}}})
    assert not validator.is_valid({**document, "jobs": {"test": {"steps": [step], "x-a": 1}}})
