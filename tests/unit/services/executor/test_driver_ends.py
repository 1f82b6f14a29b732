"""Tests of the step driver's order: the end marker of a step is in the log before its end is noted.

The log sink relies on it: a log that lacks the marker of a step whose end is noted has lost lines.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from services.executor.step_driver import Unsupervised, render
from services.logsink.step_ends import StepEnds
from shared import step_markers
from shared.pipeline.model import Job, Step
from tests.unit.services.executor.driving import NONCE, SHELLS, end_leftovers, paths_in, run

NOTED = re.compile(rb"^(?:[0-9]+|-) [sftx][0-9]+", re.MULTILINE)
"""The note of a step's end. The step's index was noted when the step began."""


def ends_in(log: bytes) -> StepEnds:
    ends = StepEnds(step_markers.mark(NONCE))
    ends.add(log)
    return ends


@pytest.mark.parametrize(
    "steps",
    [
        [Step(run="echo one"), Step(run="printf two")],
        [Step(run="echo one; exit 3"), Step(run="echo not reached")],
        [Step(run="exit 1", allow_failure=True), Step(run="echo two")],
        [Step(run="exit 1"), Step(run="printf three", condition="always")],
        [Step(run="sleep 30", timeout_seconds=1)],
        [Step(run="echo one"), Step(run="kill -9 $PPID; sleep 30")],
        [Step(run=": > ../state/termination"), Step(run="printf two")],
        [Step(run="echo never", condition="failure")],
    ],
    ids=["success", "failed", "allowed", "always", "timed out", "driver killed", "notes removed", "no step"],
)
@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a_whole_log_has_the_end_of_the_last_step_that_was_noted(steps: list[Step], shell: list[str]) -> None:
    ran = run(*steps, shell=shell)
    step = step_markers.last_ended(ran.termination)
    assert ends_in(ran.raw).has(step)
    assert (step is None) == (steps[0].condition == "failure")
    if step:
        assert not ends_in(ran.raw[: ran.raw.rindex(b"::end")]).has(step)


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a19_the_marker_is_printed_before_the_end_is_noted(shell: list[str], tmp_path: Path) -> None:
    """The notes go to the same pipe as the log, so that their order is visible."""
    alone = Unsupervised(str(tmp_path / "started"), str(tmp_path / "home"), "/proc/self/fd/1", 60)
    job = Job(name="test", steps=(Step(run="echo one"), Step(run="exit 4")))
    driver = tmp_path / "driver"
    driver.write_text(render(job, paths_in(tmp_path), NONCE, {"HOME": str(tmp_path / "home")}, alone))
    try:
        log = subprocess.run(
            [*shell, str(driver)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ["PATH"]},
            timeout=30,
            check=False,
        ).stdout
    finally:
        end_leftovers(tmp_path)
    noted = [match.start() for match in NOTED.finditer(log)]
    assert len(noted) == 2
    for step, at in enumerate(noted, 1):
        assert ends_in(log[:at]).has(step)
