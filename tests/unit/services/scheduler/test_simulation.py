"""Tests of one run in thousands of schedules with lost messages and dying processes.

The run always ends with the correct verdict, and starts nothing twice.
"""

import pytest

from shared.statuses import WORST_FIRST, Reason, Status
from tests.unit.services.scheduler.simulation import Simulation

BATCH = 250


@pytest.mark.parametrize("batch", range(4))
def test_a_run_ends_as_its_attempts_did(batch: int) -> None:
    ends, reasons, script_retries = set(), set(), 0
    for seed in range(batch * BATCH, (batch + 1) * BATCH):
        simulation = Simulation(seed)
        simulation.play()
        run = simulation.run
        ends.add(run.status)
        assert run.status is min((job.result for job in run.jobs), key=WORST_FIRST.index)
        reasons |= {job.reason for job in run.jobs}
        script_retries += sum(job.script_retries for job in run.jobs)
        for job in run.jobs:
            last = simulation.attempts.get((job.key, job.attempt))
            if last is not None and last.outcome is not None and job.status is not Status.CANCELLED:
                assert job.status is last.outcome, f"seed {seed}: {job} {last}"
            assert simulation.expected_retries(job.key), f"seed {seed}"
    assert len(ends) >= 3
    assert reasons >= {Reason.FAIL_FAST, Reason.CONDITION_FALSE, Reason.DEPENDENCY_FAILED}
    assert script_retries > 0


def test_a_seed_repeats_its_schedule() -> None:
    one, other = Simulation(7), Simulation(7)
    one.play()
    other.play()
    assert (one.run, one.attempts, one.starts) == (other.run, other.attempts, other.starts)
