"""Contract tests of step outputs: they reach later steps and leave the pod, and change nothing else."""

from dataclasses import replace

import pytest

from services.executor.backend import AttemptSpec, Backend
from services.executor.step_facts import Interruption, step_facts
from services.executor.step_outputs import LIMIT_BYTES, OutputsProblem
from shared.pipeline.model import Step
from tests.contracts.clusters import spec
from tests.contracts.grounds import Ground, begin, end_of, run, said

FILE = '"$(dirname "$TOWPATH_OUTPUT")"/outputs'
OUTPUTS = {"digest": "${{ steps.a.outputs.x }}", "all": "${{ toJSON(steps.b.outputs) }}"}


def job(*scripts: str, outputs: dict[str, str] | None = None) -> AttemptSpec:
    """Return a job whose steps are called a, b and so on."""
    wanted = spec()
    steps = tuple(Step(id="abc"[index], run=script) for index, script in enumerate(scripts))
    changes = {"steps": steps, "outputs": OUTPUTS if outputs is None else outputs}
    return replace(wanted, job=wanted.job.model_copy(update=changes))


async def test_rule_3_outputs_of_steps_leave_the_pod(ground: Ground, cluster: Backend) -> None:
    scripts = [
        "for line in x=1 unneeded=1 'x=é 2'; do echo \"$line\" >> $TOWPATH_OUTPUT; done",
        "printf 'lines<<END\\none\\n\\n two\\nEND\\nimage-digest=sha256:1\\nempty=\\n' >> $TOWPATH_OUTPUT",
    ]
    end, _ = await run(ground, cluster, job(*scripts))
    assert (end.exit_code, end.outputs_problem) == (0, None)
    assert end.outputs == {
        "a": {"x": "é 2"},
        "b": {"lines": "one\n\n two", "image-digest": "sha256:1", "empty": ""},
    }


async def test_rule_3_outputs_of_a_failed_job_leave_the_pod_too(ground: Ground, cluster: Backend) -> None:
    end, _ = await run(ground, cluster, job("echo x=1 >> $TOWPATH_OUTPUT; exit 3"))
    assert (end.exit_code, end.outputs, end.outputs_problem) == (3, {"a": {"x": "1"}}, None)


async def test_rule_3_a_job_without_outputs_sends_none(ground: Ground, cluster: Backend) -> None:
    end, _ = await run(ground, cluster, job(f"echo x=1 >> $TOWPATH_OUTPUT; test ! -e {FILE}", outputs={}))
    assert (end.exit_code, end.outputs, end.outputs_problem) == (0, {}, None)


async def test_rule_3_a_stopped_job_ends_as_stopped(ground: Ground, cluster: Backend) -> None:
    made = await begin(cluster, job("echo begun; sleep 600"))
    await said(ground, made, "begun")
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made)
    assert end.stopped


@pytest.mark.parametrize(("more", "problem"), [(0, None), (1, OutputsProblem.TOO_LARGE)])
async def test_rule_3_outputs_have_64_kib_together(
    ground: Ground, cluster: Backend, more: int, problem: OutputsProblem | None
) -> None:
    """The names `x` and `y` count too."""
    half = LIMIT_BYTES // 2
    write = "{{ printf {name}=; head -c {size} /dev/zero | tr '\\0' v; echo; }} >> $TOWPATH_OUTPUT"
    scripts = [write.format(name="x", size=half - 1), write.format(name="y", size=half - 1 + more)]
    end, _ = await run(ground, cluster, job(*scripts))
    assert (end.exit_code, end.outputs_problem) == (0, problem)
    expected = {"a": {"x": "v" * (half - 1)}, "b": {"y": "v" * (half - 1)}}
    assert end.outputs == ({} if problem else expected)


CHANGES = {
    "a link": (f"rm {FILE}; ln -s /etc/passwd {FILE}", OutputsProblem.CHANGED),
    "a named pipe": (f"rm {FILE}; mkfifo {FILE}", OutputsProblem.CHANGED),
    "a folder": (f"rm {FILE}; mkdir {FILE}", OutputsProblem.CHANGED),
    "nothing": (f"rm {FILE}", OutputsProblem.CHANGED),
    "a closed file": (f"chmod 0 {FILE}; rm {FILE}; : > {FILE}; chmod 0 {FILE}", None),
    "a huge file": (f"head -c 20000000 /dev/zero > {FILE}", OutputsProblem.TOO_LARGE),
    "a file with a hole": (f"truncate -s 1T {FILE}", OutputsProblem.TOO_LARGE),
    "another format": (f"echo '2 0 s0' > {FILE}", OutputsProblem.CHANGED),
    "facts of steps": (f"printf 'b\\0outcome failed\\0x\\0' >> {FILE}", OutputsProblem.CHANGED),
    "another step": (f"printf 'zzz\\0x\\0forged\\0' >> {FILE}", None),
}
"""Scripts that change the file, each with the problem that is reported."""


@pytest.mark.parametrize("what", CHANGES)
async def test_x13_user_code_changes_no_fact_through_the_file_with_outputs(
    ground: Ground, cluster: Backend, what: str
) -> None:
    script, problem = CHANGES[what]
    wanted = job("echo x=1 >> $TOWPATH_OUTPUT", script, "echo y=1 >> $TOWPATH_OUTPUT; exit 3")
    end, log = await run(ground, cluster, wanted)
    facts = step_facts(end.termination, wanted.job.steps, None, Interruption("failed", None))
    assert [(fact.outcome, fact.exit_code) for fact in facts] == [
        ("success", 0),
        ("success", 0),
        ("failed", 3),
    ]
    assert (end.exit_code, end.stopped, end.time_limit, end.cause, end.fault, log) == (
        3,
        False,
        None,
        None,
        None,
        "",
    )
    if what != "a closed file":  # root may read it
        assert end.outputs_problem == problem
    assert "root:" not in str(end.outputs)


async def test_rule_8_outputs_and_outcomes_decide_about_later_steps(ground: Ground, cluster: Backend) -> None:
    wanted = spec()
    condition = (
        "failure() && steps.a.outputs.x == 'YES' && steps.b.outcome == 'failed' && env.LEVEL == 'full'"
    )
    steps = (
        Step(id="a", run="echo x=yes >> $TOWPATH_OUTPUT; echo LEVEL=full >> $TOWPATH_ENV"),
        Step(id="b", run="exit 3"),
        Step(run="echo no", condition="steps.a.outputs.x == 'yes'"),
        Step(run='echo "why: $WHY"', condition=condition),
        Step(run="echo no", condition="always() && startsWith(steps.a.outputs.x, 'n')"),
    )
    templates = {"steps.3.env.WHY": "<${{ steps.a.outputs.x }} ${{ env.LEVEL }}>"}
    changes = {"steps": steps, "templates": templates}
    end, log = await run(ground, cluster, replace(wanted, job=wanted.job.model_copy(update=changes)))
    assert (end.exit_code, log) == (3, "why: <yes full>\n")
