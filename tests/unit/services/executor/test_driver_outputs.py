"""Tests of the files in which steps write their outputs."""

import pytest

from shared.pipeline.model import Step
from tests.unit.services.executor.driving import run

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
