"""Tests of the files in which steps write their outputs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor.step_outputs import Collected
from shared.pipeline.model import Step
from tests.unit.services.executor.driving import SHELLS, run

MALFORMED = {
    "neither form": (
        "echo 'no equals sign' >> $TOWPATH_OUTPUT",
        "neither KEY=value nor KEY<<WORD: no equals sign",
    ),
    "never closed": ("printf 'A<<END\\nx\\n' >> $TOWPATH_OUTPUT", "the line END that ends A is missing"),
    "no word": ("printf 'A<<\\nx\\n' >> $TOWPATH_OUTPUT", "no word follows A<<"),
    "no name": ("echo =x >> $TOWPATH_OUTPUT", "not an output's name: "),
    "a digit first": ("echo 1a=x >> $TOWPATH_OUTPUT", "not an output's name: 1a"),
    "a dash first": ("echo -- '-a=x' >> $TOWPATH_OUTPUT", None),
    "a dot": ("echo a.b=x >> $TOWPATH_OUTPUT", "not an output's name: a.b"),
    "a folder": ("rm $TOWPATH_OUTPUT; mkdir $TOWPATH_OUTPUT", "not a file"),
    "a named pipe": ("rm $TOWPATH_OUTPUT; mkfifo $TOWPATH_OUTPUT", "not a file"),
}
"""The script, and the driver's message."""


@pytest.mark.parametrize("code", [0, 5])
@pytest.mark.parametrize("form", MALFORMED)
def test_rule_8_a_malformed_output_fails_only_the_step_that_wrote_it(
    shell: list[str], form: str, code: int
) -> None:
    script, message = MALFORMED[form]
    ran = run(
        Step(run="echo good=1 >> $TOWPATH_OUTPUT"),
        Step(run=f"echo lost=1 >> $TOWPATH_OUTPUT; {script}; exit {code}"),
        Step(run="echo a=1 >> $TOWPATH_OUTPUT", condition="always"),
        shell=shell,
    )
    assert (ran.code, ran.outcomes) == (code or 1, ["success", "failed", "success"])
    assert ran.output.startswith(f"towpath: TOWPATH_OUTPUT: {message or ''}")


def test_rule_8_names_of_outputs_may_be_words_that_no_variable_has(shell: list[str]) -> None:
    names = ["image-digest", "_", "PPID", "UID", "OPTIND", "towpath_state", "TOWPATH_SHA", "IFS"]
    script = "".join(f"echo {name}=/nowhere >> $TOWPATH_OUTPUT\n" for name in names)
    ran = run(Step(run=script), Step(run='echo "${IFS-unset}"; echo on'), shell=shell)
    assert (ran.code, ran.output, ran.outcomes) == (0, " \t\n\non\n", ["success", "success"])


def test_rule_8_an_output_is_no_variable_of_later_steps(shell: list[str]) -> None:
    ran = run(Step(run="echo A=1 >> $TOWPATH_OUTPUT"), Step(run="echo ${A-unset}"), shell=shell)
    assert (ran.code, ran.output) == (0, "unset\n")


def test_rule_8_each_step_has_a_file_for_outputs_of_its_own(shell: list[str]) -> None:
    script = "wc -c < $TOWPATH_OUTPUT; echo a=1 >> $TOWPATH_OUTPUT; basename $TOWPATH_OUTPUT"
    ran = run(Step(run=script), Step(run=script), shell=shell)
    assert ran.output.split() == ["0", "output-1", "0", "output-2"]


def test_rule_8_a_file_for_outputs_that_is_gone_has_none(shell: list[str]) -> None:
    ran = run(Step(run="rm $TOWPATH_OUTPUT"), Step(run="echo on"), shell=shell)
    assert (ran.code, ran.output) == (0, "on\n")


def test_rule_8_malformed_variables_and_outputs_are_both_named(shell: list[str]) -> None:
    ran = run(Step(run="echo x >> $TOWPATH_ENV; echo y >> $TOWPATH_OUTPUT"), shell=shell)
    assert (ran.code, ran.output.splitlines()) == (
        1,
        [
            "towpath: TOWPATH_ENV: neither KEY=value nor KEY<<WORD: x",
            "towpath: TOWPATH_OUTPUT: neither KEY=value nor KEY<<WORD: y",
        ],
    )


# ---------------------------------------------------------------- outputs for other jobs

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,12}", fullmatch=True)


@settings(max_examples=30, deadline=None)
@given(values=st.dictionaries(NAMES, TEXTS, min_size=1, max_size=4), shell=st.sampled_from(SHELLS))
def test_rule_3_outputs_arrive_as_they_were_written(values: dict[str, str], shell: list[str]) -> None:
    words = {name: f"V{index}" for index, name in enumerate(values)}
    script = "".join(
        f'printf "%s<<%s\\n%s\\n%s\\n" {name} END_{word} "${word}" END_{word} >> $TOWPATH_OUTPUT\n'
        for name, word in words.items()
    )
    environment = {words[name]: value for name, value in values.items()}
    step = Step(id="a", run=script, env=environment)
    ran = run(step, shell=shell, outputs={"all": "${{ toJSON(steps.a.outputs) }}"})
    assert (ran.code, ran.output, ran.outputs) == (0, "", Collected({"a": values}))


@pytest.mark.parametrize(
    ("template", "sent"),
    [
        ("${{ steps.a.outputs.x }}", {"a": {"x": "1"}}),
        ("${{ steps.a.outputs['x'] }}-${{ steps.b.outputs.y }}", {"a": {"x": "1"}, "b": {"y": "4"}}),
        ("${{ toJSON(steps.a.outputs) }}", {"a": {"x": "1", "y": "2"}}),
        ("${{ toJSON(steps.a) }}", {"a": {"x": "1", "y": "2"}}),
        ("${{ toJSON(steps) }}", {"a": {"x": "1", "y": "2"}, "b": {"x": "3", "y": "4"}}),
        ("${{ steps[inputs.which].outputs.x }}", {"a": {"x": "1"}, "b": {"x": "3"}}),
        ("${{ steps.b.outputs[inputs.which] }}", {"b": {"x": "3", "y": "4"}}),
        ("${{ steps.a.outcome }}", {}),
        ("${{ steps.none.outputs.x }}", {}),
        ("constant", {}),
    ],
)
def test_rule_3_only_outputs_that_the_job_needs_leave_it(
    shell: list[str], template: str, sent: dict[str, dict[str, str]]
) -> None:
    steps = [
        Step(id="a", run="printf 'x=1\\ny=2\\n' >> $TOWPATH_OUTPUT"),
        Step(run="echo x=nobody >> $TOWPATH_OUTPUT"),
        Step(id="b", run="printf 'x=3\\ny=4\\n' >> $TOWPATH_OUTPUT"),
    ]
    assert run(*steps, shell=shell, outputs={"o": template}).outputs == Collected(sent)


def test_rule_3_outputs_of_a_malformed_file_do_not_leave_the_job(shell: list[str]) -> None:
    step = Step(id="a", run="printf 'x=1\\nno\\n' >> $TOWPATH_OUTPUT")
    ran = run(step, shell=shell, outputs={"x": "${{ steps.a.outputs.x }}"})
    assert (ran.code, ran.outputs) == (1, Collected({}))


def test_rule_3_steps_do_not_inherit_the_file_with_outputs(shell: list[str]) -> None:
    step = Step(id="a", run="ls -l /proc/self/fd | grep -c 'state/outputs' || :", timeout_seconds=20)
    assert run(step, shell=shell, outputs={"x": "${{ steps.a.outputs.x }}"}).output == "0\n"
