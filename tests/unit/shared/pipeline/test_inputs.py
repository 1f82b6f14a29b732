"""Inputs: definitions are checked when the pipeline is saved, values when a run is started."""

import pytest

from shared.pipeline.expansion import expand, resolved
from shared.pipeline.inputs import faults, values
from shared.pipeline.load import load
from shared.pipeline.model import Job, Pipeline
from tests.unit.shared.pipeline.documents import problems_in

DOCUMENT = """\
version: 1
repository: octo/web
on:
  push: {{}}
  manual: {{ inputs: {{ {inputs} }} }}
concurrency: {{ group: "x-{group}" }}
jobs:
  first:
    if: {condition}
    matrix: {{ value: ["{value}"] }}
    env: {{ VALUE: "{value}" }}
    steps: [{{ run: {run} }}]
  second:
    needs: [first]
    if: always()
    env: {{ RESULT: "${{{{ needs.first.result }}}} {value}" }}
    steps: [{{ run: make }}]
"""
LEVEL = "level: { type: choice, options: [quick, full], default: quick }"
PUSH = {"type": "push", "branch": "main"}


def text(
    inputs: str = LEVEL, value: str = "${{ inputs.level }}", condition: str = "'true'", run: str = "make"
) -> str:
    return DOCUMENT.format(inputs=inputs, value=value, condition=condition, group=value, run=run)


def pipeline(inputs: str, value: str = "x") -> Pipeline:
    return load(text(inputs, value))


def test_a_default_holds_for_events_that_give_no_inputs() -> None:
    loaded = load(text(condition="inputs.level == 'quick'"))
    expansion = expand(loaded, PUSH, {})
    assert (expansion.group, expansion.jobs[0].job.key) == ("x-quick", "first (quick)")
    assert expansion.jobs[0].job.env == {"VALUE": "quick"}
    assert not expansion.jobs[0].is_skipped


def test_a_given_value_counts_in_group_condition_matrix_and_variables() -> None:
    loaded = load(text(condition="inputs.level == 'quick'"))
    expansion = expand(loaded, PUSH, {"level": "full"})
    assert expansion.group == "x-full"
    assert expansion.jobs[0].is_skipped
    assert expansion.jobs[0].condition == "if: inputs.level == 'quick' → false because inputs.level = 'full'"


def test_a_number_keeps_its_text_also_in_a_job_that_is_decided_later() -> None:
    loaded = load(text("n: { type: number, default: 3.10 }", "${{ inputs.n }}", "inputs.n == 3.1"))
    first, second = expand(loaded, PUSH, {}).jobs
    assert first.job.env == {"VALUE": "3.10"}
    stored = Job.model_validate_json(second.job.model_dump_json())
    assert resolved(stored, {"first": {"result": "success"}}).env["RESULT"] == "success 3.10"


def test_an_input_without_default_is_empty_for_other_events() -> None:
    loaded = load(text("level: { type: string }"))
    assert expand(loaded, PUSH, {}).jobs[0].job.env == {"VALUE": ""}


def test_an_input_in_a_script_is_refused_with_the_variable_to_set() -> None:
    (problem,) = problems_in(text(run='"echo ${{ inputs.level }}"'))
    assert problem.path == "jobs.first.steps[0].run"
    assert problem.hint == (
        'Scripts get values as variables: env: { LEVEL: "${{ inputs.level }}" } and "$LEVEL" in the script.'
    )


@pytest.mark.parametrize(
    ("inputs", "path", "code"),
    [
        ("level: {}", "level", "missing_key"),
        ("level: { type: text }", "level.type", "bad_input_type"),
        ("level: { type: choice }", "level.type", "missing_key"),
        ("level: { type: choice, options: [a, a] }", "level.options", "duplicate_option"),
        ("level: { type: choice, options: [a], default: b }", "level.default", "not_an_option"),
        ("level: { type: boolean, default: maybe }", "level.default", "wrong_type"),
        ("level: { type: number, default: 1e3 }", "level.default", "wrong_type"),
        ("level: { type: string, max_length: 2, default: abc }", "level.default", "too_long"),
        ("level: { type: string, max_length: 2000 }", "level.max_length", "out_of_bounds"),
        ("level: { type: string, pattern: 'v[0-9]+', default: v }", "level.default", "pattern"),
        ("level: { type: string, pattern: '(' }", "level.pattern", "bad_pattern"),
        ("level: { type: string, pattern: '(?=x)' }", "level.pattern", "bad_pattern"),
        ("level: { type: string, options: [a] }", "level.options", "wrong_type"),
        ("level: { type: boolean, pattern: a }", "level.pattern", "wrong_type"),
        ("level: { type: string, default: '${{ event.sha }}' }", "level.default", "no_expression"),
        ("le.vel: { type: string }", "le.vel", "bad_name"),
    ],
)
def test_a_wrong_definition_is_refused_at_its_place(inputs: str, path: str, code: str) -> None:
    (problem,) = problems_in(text(inputs, "x"))
    assert (problem.path, problem.code) == (f"on.manual.inputs.{path}", code)


ALL = (
    "s: { type: string, max_length: 5, pattern: '[a-z]*', default: abc }, "
    "c: { type: choice, options: ['1', two], default: two }, "
    "b: { type: boolean, default: false }, n: { type: number, default: 1 }, must: { type: string }"
)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"must": "x"}, []),
        ({"must": "", "s": "", "c": "1", "b": "TRUE", "n": "-2.50"}, []),
        ({}, [("must", "missing")]),
        ({"must": "x" * 1025}, [("must", "too_long")]),
        ({"must": "a\0"}, [("must", "wrong_type")]),
        ({"must": "x", "s": "abcdef"}, [("s", "too_long")]),
        ({"must": "x", "s": "abc\n"}, [("s", "pattern")]),
        (
            {"must": "x", "s": "ABC", "c": "3", "b": "1", "n": "nan"},
            [("s", "pattern"), ("c", "not_an_option"), ("b", "wrong_type"), ("n", "wrong_type")],
        ),
        ({"must": "x", "level": "1"}, [("level", "unknown_input")]),
        ({"must": "x", "n": "1e9"}, [("n", "wrong_type")]),
    ],
)
def test_each_wrong_value_is_named(given: dict[str, str], wrong: list[tuple[str, str]]) -> None:
    assert [(fault.name, fault.code) for fault in faults(pipeline(ALL), given)] == wrong


def test_values_have_the_types_of_their_inputs() -> None:
    found = values(pipeline(ALL), {"b": "True", "n": "3.10", "must": "3"})
    assert {name: value and (value.text, value.kind) for name, value in found.items()} == {
        "s": ("abc", "text"),
        "c": ("two", "text"),
        "b": ("true", "boolean"),
        "n": ("3.10", "float"),
        "must": ("3", "text"),
    }


def test_a_stored_revision_without_manual_runs_stays_readable() -> None:
    loaded = load(text())
    stored = loaded.model_dump(mode="json")
    assert Pipeline.model_validate(stored) == loaded
    del stored["on"]["manual"]
    assert Pipeline.model_validate(stored).inputs == {}
