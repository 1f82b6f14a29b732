"""Tests of variable names that a shell reserves, with real shells."""

import re
import shutil
import subprocess

import pytest

from shared.pipeline.model import Step
from shared.pipeline.values import READONLY_IN_BASH
from tests.unit.services.executor.driving import run


@pytest.mark.parametrize("name", sorted(READONLY_IN_BASH))
def test_a16_a_name_that_bash_keeps_for_itself_is_told(shell: list[str], name: str) -> None:
    """The message is the same in every shell, and contains no line of the driver."""
    ran = run(Step(run=f"echo {name}=1 >> $TOWPATH_ENV"), shell=shell)
    assert (ran.code, ran.output) == (
        1,
        f"towpath: TOWPATH_ENV: bash sets {name} itself and lets nobody else\n",
    )


def test_a16_all_names_that_bash_lets_nobody_set_are_known() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    told = subprocess.run(
        [bash, "-c", "readonly -p"], capture_output=True, text=True, check=True, env={}
    ).stdout
    assert set(re.findall(r"^declare -\w+ (\w+)", told, flags=re.MULTILINE)) == READONLY_IN_BASH
