"""Tests of the files by which steps set variables for later steps."""

import resource
from collections.abc import Iterator

import pytest

from shared.pipeline.model import Step
from tests.unit.services.executor.driving import run

PAGE = 4096


def test_a_steps_files_for_variables_are_there_and_empty(shell: list[str]) -> None:
    """Scripts read the files, edit them in place, or copy them before they write."""
    script = 'cat "$TOWPATH_ENV" "$TOWPATH_OUTPUT"; sed -i s/a/b/ "$TOWPATH_ENV"; wc -c < "$TOWPATH_OUTPUT"'
    ran = run(Step(run=f"{script}; echo A=1 >> $TOWPATH_ENV"), Step(run=f"{script}; echo $A"), shell=shell)
    assert (ran.code, ran.output.split()) == (0, ["0", "0", "1"])


@pytest.fixture
def small_stack() -> Iterator[None]:
    """Limit the stack, because the variables and arguments of a process may use a quarter of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    resource.setrlimit(resource.RLIMIT_STACK, (1 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


@pytest.mark.parametrize(
    "script",
    [
        "{ printf LONG=; head -c 140000 /dev/zero | tr '\\0' x; echo; } >> $TOWPATH_ENV",
        (
            "for n in 1 2 3; do printf L$n=LONG; head -c 99999 /dev/zero | tr '\\0' x; echo; done >> "
            "$TOWPATH_ENV"
        ),
    ],
    ids=["one variable", "all together"],
)
@pytest.mark.usefixtures("small_stack")
def test_a08_variables_that_no_process_takes_fail_only_the_step_that_wrote_them(
    shell: list[str], script: str
) -> None:
    ran = run(
        Step(run="echo KEPT=yes >> $TOWPATH_ENV"),
        Step(run=script),
        Step(run="env | grep -c LONG || echo $KEPT", condition="always"),
        shell=shell,
    )
    assert (ran.code, ran.outcomes) == (1, ["success", "failed", "success"])
    assert (
        ran.output
        == "towpath: TOWPATH_ENV: a variable is longer than 128 KiB, or all are too long together\n0\nyes\n"
    )


def test_a_variable_of_many_pages_reaches_later_steps(shell: list[str]) -> None:
    write = f"{{ printf LONG=; head -c {30 * PAGE} /dev/zero | tr '\\0' x; echo; }} >> $TOWPATH_ENV"
    assert run(Step(run=write), Step(run="echo ${#LONG}"), shell=shell).output == f"{30 * PAGE}\n"


def test_a08_a_value_of_several_lines_needs_a_word_that_ends_it(shell: list[str]) -> None:
    ran = run(
        Step(run="printf 'NOTES<<\\nfirst\\n\\nB=2\\n' >> $TOWPATH_ENV"),
        Step(run="echo on", condition="always"),
        shell=shell,
    )
    assert (ran.code, ran.outcomes) == (1, ["failed", "success"])
    assert ran.output == "towpath: TOWPATH_ENV: no word follows NOTES<<\non\n"
