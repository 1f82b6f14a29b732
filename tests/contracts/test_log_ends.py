"""Contract of a cluster and the log sink: a log that was kept whole proves its end.

The end of a pod has the termination file of the step driver. The log has the end marker of the last step
whose end is noted there.
"""

from dataclasses import replace

import pytest

from services.executor.backend import AttemptSpec, Backend
from services.logsink.step_ends import StepEnds
from shared import step_markers
from shared.pipeline.model import Step
from tests.contracts.clusters import TOKEN, spec
from tests.contracts.grounds import Ground, begin, end_of, said

MARK = step_markers.mark(step_markers.nonce(TOKEN))
SETTLED = "trap '' TERM; setsid sleep 600 & echo begun; while :; do sleep 0.05; done"
"""A script that only SIGKILL ends."""


@pytest.mark.parametrize(
    ("scripts", "noted"),
    [
        (["echo one", "printf two"], 2),
        (["seq 1 500; printf 'no line feed'"], 1),
        (["echo one; exit 3", "echo not reached"], 1),
    ],
    ids=["success", "much output", "failed"],
)
async def test_a_whole_log_has_the_end_of_the_last_step_that_was_noted(
    ground: Ground, cluster: Backend, scripts: list[str], noted: int
) -> None:
    """The outputs are small: of a large one, a busy container runtime may lose the end."""
    made = await begin(cluster, steps(*scripts))
    _, end = await end_of(cluster, made)
    assert step_markers.last_ended(end.termination) == noted
    raw = await ground.raw_log_of(made)
    assert has(raw, noted)
    assert not has(raw[: raw.rindex(b"::end")], noted)


async def test_a_killed_container_claims_only_the_steps_before(ground: Ground, cluster: Backend) -> None:
    made = await begin(cluster, steps("echo one", SETTLED))
    await said(ground, made, "begun")
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made)
    noted = step_markers.last_ended(end.termination)
    assert noted in {None, 1, 2}
    assert has(await ground.raw_log_of(made), noted)


def steps(*scripts: str) -> AttemptSpec:
    wanted = spec()
    job = wanted.job.model_copy(update={"steps": tuple(Step(run=script) for script in scripts)})
    return replace(wanted, job=job)


def has(raw: bytes, step: int | None) -> bool:
    ends = StepEnds(MARK)
    ends.add(raw)
    return ends.has(step)
