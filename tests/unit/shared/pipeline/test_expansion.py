"""Expansion is pure and total. Problems of values are those of their jobs alone."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.events import FIELDS
from shared.expressions import names, parse_condition, parse_template
from shared.pipeline.expansion import (
    ConfigInvalid,
    PlannedJob,
    expand,
    is_long,
    outputs_of,
    resolved,
    values_of,
)
from shared.pipeline.load import load
from shared.pipeline.model import STEP_CONDITION_WORDS, Job, MatrixValue, Pipeline
from tests.unit.shared.pipeline.documents import as_yaml, documents, problems_in, with_job, with_step

STEPS = "steps: [{ run: make }]"
MAIN = {"type": "push", "branch": "main", "title": "${{ event.branch }}"}


def pipeline(jobs: str, top: str = "") -> Pipeline:
    return load(text_of(jobs, top))


def text_of(jobs: str, top: str = "") -> str:
    return f"version: 1\nrepository: octo/web\non: {{ push: {{}} }}\n{top}\njobs:\n{jobs}"


def jobs_of(jobs: str, event: dict[str, Any] = MAIN, top: str = "") -> dict[str, PlannedJob]:
    return {one.job.key: one for one in expand(pipeline(jobs, top), event, {}).jobs}


def test_a_need_of_a_matrix_is_all_of_its_jobs() -> None:
    jobs = jobs_of(
        f"  a: {{ matrix: {{ x: [1, 2] }}, {STEPS} }}\n"
        f"  b: {{ needs: [a], matrix: {{ y: [p, q] }}, {STEPS} }}\n"
        f"  c: {{ needs: [b, a], {STEPS} }}"
    )
    assert {key: one.needs for key, one in jobs.items()} == {
        "a (1)": (),
        "a (2)": (),
        "b (p)": ("a (1)", "a (2)"),
        "b (q)": ("a (1)", "a (2)"),
        "c": ("b (p)", "b (q)", "a (1)", "a (2)"),
    }


def test_values_are_text_in_templates_and_typed_in_comparisons() -> None:
    jobs = jobs_of("""
  a:
    matrix: { v: [3.10, 3.9], include: [{ v: 3.9, last: true }] }
    image: python:${{ matrix.v }}
    allow_failure: ${{ matrix.last }}
    if: matrix.v < 3.5
    steps: [{ run: "make ${{ matrix.v }}", env: { V: "${{ matrix.v == 3.1 }}" } }]
""")
    assert jobs["a (3.10)"].job.image == "python:3.10"
    assert jobs["a (3.10)"].job.allow_failure is False
    assert jobs["a (3.10)"].job.templates["steps.0.run"] == "make 3.10"
    assert jobs["a (3.10)"].job.templates["steps.0.env.V"] == "true"
    assert jobs["a (3.9, true)"].is_skipped
    assert jobs["a (3.9, true)"].condition == "if: matrix.v < 3.5 → false because matrix.v = 3.9"


@pytest.mark.parametrize(
    "matrix",
    [
        "{ x: ['${{ event.branch }}', dev], exclude: [{ x: main }] }",
        "{ x: [main, dev], exclude: [{ x: '${{ event.branch }}' }] }",
        "{ x: ['${{ event.branch }}', dev], exclude: [{ x: '${{ event.branch }}' }] }",
    ],
)
def test_exclude_compares_values_and_not_their_expressions(matrix: str) -> None:
    jobs = jobs_of(f"  a: {{ matrix: {matrix}, {STEPS} }}\n  b: {{ needs: [a], {STEPS} }}")
    assert {key: one.needs for key, one in jobs.items()} == {"a (dev)": (), "b": ("a (dev)",)}


def test_include_compares_values_and_not_their_expressions() -> None:
    jobs = jobs_of(
        "  a:\n    matrix: { x: [main, dev], include: [{ x: '${{ event.branch }}', more: 1 }] }\n"
        f"    {STEPS}"
    )
    assert list(jobs) == ["a (main, 1)", "a (dev)"]


@pytest.mark.parametrize(
    ("matrix", "event", "said"),
    [
        (
            "{ x: ['${{ event.branch }}'], exclude: [{ x: main }] }",
            MAIN,
            "`matrix`: everything is excluded for this event. Exclude less, or add `if`.",
        ),
        (
            "{ x: ['${{ event.branch }}', main] }",
            MAIN,
            "`matrix`: two combinations have the same key, a (main).",
        ),
        (
            "{ x: ['${{ event.branch }}'] }",
            {"branch": "b" * 1025},
            (
                "`matrix.x: ${{ event.branch }}` became a text of 1025 characters. "
                "A value of a matrix has at most 1024."
            ),
        ),
    ],
)
def test_a_matrix_that_is_not_valid_for_the_event_is_a_problem_of_its_job_alone(
    matrix: str, event: dict[str, Any], said: str
) -> None:
    jobs = jobs_of(f"  a: {{ matrix: {matrix}, {STEPS} }}\n  b: {{ needs: [a], {STEPS} }}", event)
    assert (jobs["a"].problem or "").replace('"', "") == said
    assert (jobs["b"].problem, jobs["b"].needs) == (None, ("a",))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (
            "timeout: ${{ event.branch }}",
            (
                "`timeout: ${{ event.branch }}` became `main`: "
                '"main" is not a duration. Write one number and one unit: 90s, 20m, 1h or 2d.'
            ),
        ),
        ("image: ${{ event.title }}", "`image: ${{ event.title }}` became `${{ event.branch }}`: "),
        ("allow_failure: ${{ event.branch }}", "`allow_failure: ${{ event.branch }}` became `main`: "),
        ("resources: { cpu: '${{ event.branch }}' }", "`resources.cpu: ${{ event.branch }}` became `main`: "),
        (
            "services: { db: { image: '${{ event.tag }}' } }",
            "`services.db.image: ${{ event.tag }}` became ``: ",
        ),
        ("env: { A: \"${{ format('{0}{0}', event.message) }}\" }", "`env.A: ${{ format("),
        ("if: format('{0}{0}', event.message) == 'x'", "`if: format("),
    ],
)
def test_a_value_that_is_not_valid_is_a_problem_of_its_job_alone(line: str, said: str) -> None:
    event = MAIN | {"message": "m" * 40_000}
    jobs = jobs_of(f"  a:\n    {line}\n    {STEPS}\n  b: {{ {STEPS} }}", event)
    assert (jobs["a"].problem or "").startswith(said), jobs["a"].problem
    assert jobs["b"].problem is None


def test_a_steps_condition_that_becomes_too_long_is_a_problem_of_its_job() -> None:
    step = "{ run: x, if: \"failure() && format('{0}{0}', event.message) == 'x'\" }"
    jobs = jobs_of(f"  a: {{ steps: [{step}] }}\n  b: {{ {STEPS} }}", MAIN | {"message": "m" * 40_000})
    assert (jobs["a"].problem or "").startswith("`steps.0.if: failure() && format("), jobs["a"].problem
    assert jobs["b"].problem is None


def test_values_of_a_skipped_job_are_not_evaluated() -> None:
    jobs = jobs_of(f"  a:\n    if: event.branch == 'x'\n    timeout: ${{{{ event.branch }}}}\n    {STEPS}")
    assert (jobs["a"].is_skipped, jobs["a"].problem) == (True, None)


def test_a_condition_sees_the_variables_of_its_job() -> None:
    jobs = jobs_of(
        "  a: { if: env.X == 'main' && env.Y == 'top', env: { X: '${{ event.branch }}' }, " + STEPS + " }",
        top="env: { Y: top }",
    )
    assert jobs["a"].condition == (
        "if: env.X == 'main' && env.Y == 'top' → true because env.X = 'main' and env.Y = 'top'"
    )


def test_a_condition_on_a_variable_that_names_a_need_is_decided_later() -> None:
    jobs = jobs_of(
        f"  a: {{ {STEPS} }}\n"
        "  b: { needs: [a], if: env.X == 'success', env: { X: '${{ needs.a.result }}' }, " + STEPS + " }"
    )
    assert (jobs["b"].condition, jobs["b"].job.condition) == (None, "env.X == 'success'")
    assert jobs["b"].job.contexts["event"] == MAIN


def test_a_title_that_is_made_with_the_run_names_no_need() -> None:
    problems = problems_in(
        text_of(f"  a: {{ {STEPS} }}\n  b: {{ needs: [a], name: '${{{{ needs.a.result }}}}', {STEPS} }}")
    )
    assert [problem.path for problem in problems] == ["jobs.b.name"]
    assert "`needs` is known only when" in problems[0].message


def test_a_value_that_names_a_need_is_made_when_the_need_has_ended() -> None:
    jobs = jobs_of(
        f"  a: {{ {STEPS} }}\n  b: {{ needs: [a], image: 'python:${{{{ needs.a.result }}}}', {STEPS} }}"
    )
    assert jobs["b"].job.templates == {"image": "python:${{ needs.a.result }}"}
    final = resolved(jobs["b"].job, {"a": {"result": "success", "outputs": {}}})
    assert (final.image, final.templates, final.contexts) == ("python:success", {}, {})


def test_text_of_the_event_is_never_evaluated() -> None:
    jobs = jobs_of(
        """
  a:
    name: ${{ event.title }}
    matrix: { x: ["${{ event.title }}"] }
    env: { TITLE: "${{ event.title }}", OF_TOP: "${{ env.TOP }}", X: "${{ matrix.x }}" }
    outputs: { o: "${{ event.title }} ${{ steps.s.outputs.v }}" }
    steps:
      - { id: s, run: make }
      - { run: make, env: { A: "${{ event.title }}", B: "${{ event.title }}${{ steps.s.outputs.v }}" } }
""",
        top="env: { TOP: '${{ event.title }}' }",
    )
    (one,) = jobs.values()
    title = MAIN["title"]
    assert one.problem is None
    assert one.job.name == title
    assert one.job.matrix_values == {"x": MatrixValue(text=title)}
    assert one.job.env == {"TOP": title, "TITLE": title, "OF_TOP": title, "X": title}
    assert outputs_of(one.job, {"s": {"v": title}}) == {"o": f"{title} {title}"}
    for text in one.job.templates.values():
        assert "event" not in {name.context for name in names(parse_template(text))}
    assert resolved(one.job, {}) == one.job


def test_outputs_have_the_variables_of_the_job() -> None:
    jobs = jobs_of(
        "  a: { outputs: { o: '${{ env.X }}' }, env: { X: '${{ event.branch }}' }, " + STEPS + " }"
    )
    assert outputs_of(jobs["a"].job, {}) == {"o": "main"}


@pytest.mark.parametrize(
    ("output", "said"),
    [
        ("steps.s.outcome", "`steps.s` has no `outcome`"),
        ("env.NOBODY", "`env` has no `NOBODY`"),
    ],
)
def test_outputs_name_only_what_is_known_when_they_are_made(output: str, said: str) -> None:
    (problem,) = problems_in(
        text_of(f"  a: {{ outputs: {{ o: '${{{{ {output} }}}}' }}, steps: [{{ id: s, run: make }}] }}")
    )
    assert (problem.path, problem.message) == ("jobs.a.outputs.o", said)


def test_a_problem_of_a_value_of_all_jobs_is_one_of_each() -> None:
    jobs = jobs_of(f"  a: {{ {STEPS} }}\n  b: {{ needs: [a], {STEPS} }}", top="priority: ${{ event.branch }}")
    assert {key: one.needs for key, one in jobs.items()} == {"a": (), "b": ("a",)}
    assert all((one.problem or "").startswith("`priority: ") for one in jobs.values())


_texts = st.text(max_size=30) | st.sampled_from(["${{", "${{ event.ref }}", "main", "1m", "'", "}}", "3.10"])
_events = st.fixed_dictionaries({}, optional={field: st.none() | _texts for field in FIELDS})
_needs = st.sampled_from(["success", "failed", "skipped", "cancelled", "error"])


@given(documents(), _events, _needs, _texts)
@settings(deadline=None, max_examples=150)
def test_any_pipeline_expands_for_any_event(
    document: dict[str, Any], event: dict[str, Any], result: str, output: str
) -> None:
    model = load(as_yaml(document))
    expansion = expand(model, event, {})
    assert expansion == expand(model, event, {})
    keys = [one.job.key for one in expansion.jobs]
    assert len(set(keys)) == len(keys)
    for one in expansion.jobs:
        assert set(one.needs) <= set(keys)
        assert {one.split(" ")[0] for one in one.needs} == set(one.job.needs)
        if one.problem is not None or one.is_skipped:
            assert one.problem is None or re.match(r"`[a-z_A-Z0-9.-]+(: |`: )", one.problem), one.problem
            continue
        assert round_trip(one.job) == one.job
        needs = {name: {"result": result, "outputs": {"o": output}} for name in one.job.needs}
        try:
            final = resolved(one.job, needs)
        except ConfigInvalid:
            continue
        assert final == resolved(round_trip(one.job), needs)
        assert resolved(final, {}) == final == round_trip(final)
        check_final(final)
        outputs_of(final, {"s": {"o": output}})
        assert set(values_of(final.matrix_values)) == set(final.matrix_values)


def round_trip(job: Job) -> Job:
    return Job.model_validate(json.loads(json.dumps(job.model_dump(mode="json"), sort_keys=True)))


def check_final(job: Job) -> None:
    """Check that only steps have expressions, and that these name only what is known when a step runs."""
    for path, text in job.templates.items():
        assert re.fullmatch(r"steps\.\d+\.(run|env\..+)", path), path
        allowed = {"run", "job"} if path.endswith(".run") else {"steps", "env"}
        assert {name.context for name in names(parse_template(text))} <= allowed, text
    for step in job.steps:
        if step.condition not in STEP_CONDITION_WORDS:
            assert {name.context for name in names(parse_condition(step.condition))} <= {"steps", "env"}
    for text in job.outputs.values():
        assert {name.context for name in names(parse_template(text))} <= {"steps"}, text


def test_a_condition_of_a_step_that_known_values_decide_alone_needs_no_success() -> None:
    text = with_step("if: event.type == 'push' || failure()")
    (planned,) = expand(load(text), {"type": "push"}, {}).jobs
    assert planned.job.steps[0].condition == "always() && true"
    (planned,) = expand(load(text), {"type": "tag"}, {}).jobs
    assert planned.job.steps[0].condition == "failure()"


def test_a_pipeline_with_many_expressions_is_long() -> None:
    step = "      - run: make\n        env: { A: '${{ matrix.a }}' }\n"
    few = with_job("matrix: { a: [1, 2] }").replace("      - run: make test\n", step * 2)
    many = with_job(f"matrix: {{ a: {list(range(20))} }}").replace("      - run: make test\n", step * 5)
    assert (is_long(load(few)), is_long(load(many))) == (False, True)
