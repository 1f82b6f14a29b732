"""Tests of conditions and variables of steps that are evaluated while the steps run, in every shell."""

import os
from pathlib import Path

import pytest

from services.executor.step_driver import STOPPED_CODE, render
from shared.pipeline.model import Step
from tests.unit.services.executor.driving import NONCE, drive, job_of, paths_in, run, run_alone

A = Step(
    id="a", run="printf 'x=yes\\nimage-digest=sha256:1\\nlines<<END\\none\\n two\\nEND\\n' >> $TOWPATH_OUTPUT"
)
FAILS = Step(id="bad", run="echo why=tests >> $TOWPATH_OUTPUT; exit 3")


def asked(condition: str, *before: Step, shell: list[str], environment: dict[str, str] | None = None) -> bool:
    """Return whether a step with this condition ran after these steps."""
    last = Step(run=":", condition=condition)
    outcome = run(*before, last, shell=shell, environment=environment).outcomes[-1]
    assert outcome in {"success", "skipped"}
    return outcome == "success"


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("steps.a.outputs.x == 'yes'", True),
        ("steps.a.outputs.x == 'YES'", True),
        ("steps.a.outputs.x != 'yes'", False),
        ("${{ steps.a.outputs.image-digest == 'sha256:1' }}", True),
        ("steps.a.outputs['x'] == 'yes' && steps.a.outcome == 'success'", True),
        ("startsWith(steps.a.outputs.lines, 'one') && endsWith(steps.a.outputs.lines, ' two')", True),
        ("steps.a.outputs.none", False),
        ("steps.a.outputs.none == null", True),
        ("!steps.a.outputs.x", False),
        ("steps.a.conclusion == 'success' && success()", True),
        ("failure() || steps.a.outputs.x == 'yes'", True),
        ("steps.never.outcome == null", True),
    ],
)
def test_rule_8_a_step_runs_by_what_earlier_steps_wrote(
    shell: list[str], condition: str, expected: bool
) -> None:
    assert asked(condition, A, shell=shell) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("steps.bad.outputs.why == 'tests'", False),  # it means success() && …
        ("failure() && steps.bad.outputs.why == 'tests'", True),
        ("always() && steps.bad.outcome == 'failed'", True),
        ("always() && steps.bad.conclusion == 'failed'", True),
        ("!success()", True),
        ("!cancelled()", True),
        ("failure() && cancelled()", False),
    ],
)
def test_rule_8_a_condition_without_a_status_function_needs_success(
    shell: list[str], condition: str, expected: bool
) -> None:
    assert asked(condition, FAILS, shell=shell) is expected


def test_rule_8_an_allowed_failure_has_another_conclusion(shell: list[str]) -> None:
    allowed = FAILS.model_copy(update={"allow_failure": True})
    condition = "steps.bad.outcome == 'failed' && steps.bad.conclusion == 'success'"
    assert asked(condition, allowed, shell=shell)


def test_rule_8_a_skipped_step_and_one_over_its_limit_have_outcomes(shell: list[str]) -> None:
    skipped = Step(id="no", run=":", condition="failure()")
    slow = Step(id="slow", run="sleep 20", timeout_seconds=1)
    condition = "always() && steps.no.outcome == 'skipped' && steps.slow.outcome == 'failed'"
    assert asked(condition, skipped, slow, shell=shell)


def test_rule_8_outputs_of_a_malformed_file_are_not_kept(shell: list[str]) -> None:
    bad = Step(id="a", run="printf 'x=yes\\nno\\n' >> $TOWPATH_OUTPUT")
    assert asked("failure() && steps.a.outputs.x == null", bad, shell=shell)


def test_rule_8_the_last_of_several_outputs_of_one_name_counts(shell: list[str]) -> None:
    assert asked(
        "steps.a.outputs.x == '2'", Step(id="a", run="printf 'x=1\\nx=2\\n' >> $TOWPATH_OUTPUT"), shell=shell
    )


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("env.LEVEL == 'full'", True),
        ("env.LEVEL == 'quick'", False),
        ("env.WRITTEN == 'later'", True),
        ("env.NONE == null", True),
        ("env.towpath_state == null", True),
        ("always() && env.LEVEL == 'full' && steps.set.outcome == 'success'", True),
    ],
)
def test_rule_8_a_condition_reads_the_environment_of_its_step(
    shell: list[str], condition: str, expected: bool
) -> None:
    ran = run(
        Step(id="set", run="echo WRITTEN=later >> $TOWPATH_ENV"),
        Step(run="echo ran", condition=condition, env={"LEVEL": "full"}),
        shell=shell,
        environment={"LEVEL": "quick", "IFS": "lu", "WRITTEN": "before"},
    )
    assert (ran.code, ran.output) == (0, "ran\n" if expected else "")


def test_rule_8_the_environment_of_a_condition_is_that_of_its_step_alone(shell: list[str]) -> None:
    ran = run(
        Step(run=":", condition="env.A == 'x'", env={"A": "x"}),
        Step(run="echo ${A-unset}"),
        shell=shell,
    )
    assert (ran.outcomes, ran.output) == (["success", "success"], "unset\n")


def test_rule_8_outputs_reach_the_environment_of_later_steps(shell: list[str]) -> None:
    ran = run(
        A,
        Step(run='printf "%s|%s|%s|%s" "$TEXT" "$NONE" "$SAME" "$SECOND"', env={"SAME": "own", "SECOND": ""}),
        shell=shell,
        environment={"SAME": "job"},
        templates={
            "steps.1.env.TEXT": "<${{ steps.a.outputs.lines }}>$HOME `id`",
            "steps.1.env.NONE": "${{ steps.a.outputs.none }}",
            "steps.1.env.SECOND": "${{ env.SAME }}",
            "steps.10.env.TEXT": "another step's",
        },
    )
    assert ran.output == "<one\n two>$HOME `id`||own|job"


def test_rule_8_a_condition_may_be_what_is_left_of_a_template(shell: list[str]) -> None:
    ran = run(
        A, Step(run="echo ran"), shell=shell, templates={"steps.1.if": "${{ steps.a.outputs.x == 'yes' }}"}
    )
    assert ran.output == "ran\n"


HOSTILE = [
    "$(touch pwned)",
    "`touch pwned`",
    "'; touch pwned; '",
    '"; touch pwned; "',
    "a\\",
    "-n",
    "*",
    "\x1b[0m$HOME",
    "é \u2028 \U0001f600",
    "x" * 70_000,
]


@pytest.mark.parametrize("value", HOSTILE, ids=lambda value: repr(value[:12]))
def test_rule_8_an_output_is_text_and_never_code(shell: list[str], value: str) -> None:
    condition = (
        f"steps.a.outputs.v == {_literal(value)} && contains(steps.a.outputs.v, {_literal(value[:5])})"
    )
    ran = run(
        Step(id="a", run='printf "v=%s\\n" "$V" >> $TOWPATH_OUTPUT', env={"V": value}),
        Step(run='printf "%s" "$COPY" > copy; cat copy; ls', condition=condition),
        shell=shell,
        templates={"steps.1.env.COPY": "${{ steps.a.outputs.v }}"},
    )
    assert (ran.code, ran.output) == (0, f"{value}copy\nsub\n")


def _literal(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def test_rule_8_the_image_can_not_set_what_steps_wrote(shell: list[str], tmp_path: Path) -> None:
    image = {
        "PATH": os.environ["PATH"],
        "towpath_output_1": "x",
        "towpath_outcome_1": "x",
        "towpath_nothing": "x",
    }
    condition = "steps.a.outputs.x == null && steps.b.outcome == null && steps.none.outcome == null"
    steps = [Step(id="a", run=":"), Step(run="echo on", condition=condition), Step(id="b", run=":")]
    assert run_alone(tmp_path, *steps, shell=shell, image=image).output == "on\n"


STOP = "if [ ! -e ../stopped ]; then : > ../stopped; kill -TERM $$; sh -c 'kill -TERM $PPID'; sleep 5; fi"
"""Sends SIGTERM to the driver, and to the process of it that runs this."""


def test_rule_8_a_stop_while_a_condition_is_evaluated_loses_no_step(shell: list[str], tmp_path: Path) -> None:
    """The process that reads the variables gets SIGTERM, like all others, before it has an answer."""
    last = Step(run="echo last", condition="always() && env.A == 'x'", env={"A": "x"})
    for folder in ("workspace", "state"):
        (tmp_path / folder).mkdir()
    driver = render(job_of([Step(run=":"), last]), paths_in(tmp_path), NONCE, {"PATH": os.environ["PATH"]})
    parts = driver.split("\ntowpath_weigh() (\n")
    assert len(parts) == 2
    (tmp_path / "driver").write_text(f"\ntowpath_weigh() (\n{STOP}\n".join(parts))
    code = drive([*shell, str(tmp_path / "driver")], tmp_path, {"PATH": os.environ["PATH"]})
    assert (code, (tmp_path / "stopped").exists()) == (STOPPED_CODE, True)
    assert "last\n" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    "condition", ["steps.a.outputs.x < 1", "matrix.os == 'x'", "toJSON(steps.a.outputs)", "a ||"]
)
def test_rule_8_what_steps_can_not_evaluate_is_refused(condition: str) -> None:
    job = job_of([A, Step(run=":", condition=condition)])
    with pytest.raises(ValueError, match=r"jobs\.job\.steps\.1: "):
        render(job, paths_in(Path("/nowhere")), NONCE, {})


@pytest.mark.parametrize("word", ["success", "failure", "always"])
def test_rule_8_conditions_of_stored_pipelines_keep_their_meaning(shell: list[str], word: str) -> None:
    for before in (A, FAILS):
        assert asked(word, before, shell=shell) == asked(f"{word}()", before, shell=shell)
