"""Tests of steps with `always()` and `cancelled()`: they run after a stop, within the grace period."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from services.executor.step_driver import STOPPED_CODE, Unsupervised, render
from services.executor.step_facts import job_timed_out
from shared.pipeline.model import Step
from tests.unit.services.executor.driving import (
    NONCE,
    SHELLS,
    Ran,
    end_leftovers,
    job_of,
    paths_in,
    run,
    run_alone,
)

pytestmark = pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
LAST = Step(run="echo last", condition="always")
CANCELLED = Step(run="echo cancelled", condition="cancelled")


def test_a09_a_step_with_always_runs_after_the_jobs_time(shell: list[str], tmp_path: Path) -> None:
    steps = [
        Step(run="echo begun; sleep 20"),
        Step(run="echo no"),
        Step(run="echo no", condition="failure"),
        LAST,
        CANCELLED,
    ]
    ran = run_alone(tmp_path, *steps, shell=shell, limit=1)
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "skipped", "skipped", "success", "success"])
    lines = [line for line in ran.output.splitlines() if line != "Terminated"]
    assert lines == ["begun", "last", "cancelled"]
    assert job_timed_out(ran.code, ran.termination)


def test_a09_steps_with_always_have_the_grace_between_them(shell: list[str], tmp_path: Path) -> None:
    """The grace period is one second here, and is for all of these steps together."""
    slow = Step(run="sleep 20", condition="always")
    began = time.monotonic()
    ran = run_alone(tmp_path, Step(run="sleep 20"), slow, LAST, shell=shell, limit=1)
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "timed_out", "skipped"])
    assert time.monotonic() - began < 15
    assert job_timed_out(ran.code, ran.termination)


def test_a09_a_step_with_always_after_the_jobs_time_has_its_own_outcome(
    shell: list[str], tmp_path: Path
) -> None:
    failing = Step(run="exit 7", condition="always")
    ran = run_alone(tmp_path, Step(run="sleep 20"), failing, LAST, shell=shell, limit=1)
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "failed", "success"])


def test_a09_a_step_with_always_runs_after_a_stop(shell: list[str], tmp_path: Path) -> None:
    """Stop the job as clusters do: with one SIGTERM to each of its processes."""
    steps = [
        Step(run=f"echo begun; : > {tmp_path}/begun; sleep 20"),
        Step(run="echo no", condition="failure"),
        CANCELLED,
        LAST,
    ]
    started, home, termination = (str(tmp_path / name) for name in ("started", "home", "termination"))
    alone = Unsupervised(started, home, termination, 60, grace_seconds=1)
    (tmp_path / "driver").write_bytes(render(job_of(steps), paths_in(tmp_path), NONCE, {}, alone).encode())
    with (tmp_path / "log").open("wb") as log:
        driving = subprocess.Popen(
            [*shell, str(tmp_path / "driver")], stdout=log, stderr=log, env={"PATH": os.environ["PATH"]}
        )
    try:
        ends_at = time.monotonic() + 20
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < ends_at
        driving.send_signal(signal.SIGTERM)
        os.killpg(int((tmp_path / "state" / "group").read_text()), signal.SIGTERM)
        code = driving.wait(timeout=20)
    finally:
        driving.kill()
        end_leftovers(tmp_path)
    ran = Ran(code, tmp_path, steps)
    assert (ran.code, ran.outcomes) == (STOPPED_CODE, ["cancelled", "skipped", "success", "success"])
    lines = [line for line in ran.output.splitlines() if line != "Terminated"]
    assert lines == ["begun", "cancelled", "last"]


@pytest.mark.parametrize("script", [":", "exit 3"], ids=["success", "failure"])
def test_rule_8_a_step_with_cancelled_is_skipped_without_a_stop(shell: list[str], script: str) -> None:
    ran = run(Step(run=script, timeout_seconds=20), CANCELLED, shell=shell)
    assert (ran.code, ran.outcomes[1], ran.output) == (0 if script == ":" else 3, "skipped", "")


def test_rule_8_a_step_over_its_own_limit_is_no_stop(shell: list[str]) -> None:
    ran = run(Step(run="sleep 20", timeout_seconds=1), CANCELLED, LAST, shell=shell)
    assert (ran.code, ran.outcomes) == (124, ["timed_out", "skipped", "success"])
