"""Contract tests of scripts: what they may expect of the machine on every cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from services.executor.backend import AttemptSpec, Backend
from shared.pipeline.model import Step
from tests.contracts.clusters import spec
from tests.contracts.grounds import Ground, begin, end_of, run, said

LAST_WORDS = "echo 'ERROR: the reason'; exit 3"


def steps(*scripts: str) -> AttemptSpec:
    wanted = spec()
    return replace(
        wanted, job=wanted.job.model_copy(update={"steps": tuple(Step(run=script) for script in scripts)})
    )


@pytest.mark.parametrize(
    "output",
    [
        "exec > >(sleep 0.2; cat) 2>&1",
        "exec > >(tee build.log) 2>&1",
        "exec > >(sed -u 's/^/ERROR: /; s/ERROR: ERROR/ERROR/') 2>&1",
    ],
    ids=["cat", "tee", "sed"],
)
async def test_a01_a_jobs_last_words_are_kept(ground: Ground, cluster: Backend, output: str) -> None:
    end, log = await run(ground, cluster, spec(f'exec bash -c "{output}; {LAST_WORDS}"'))
    assert (end.exit_code, log) == (3, "ERROR: the reason\n")


async def test_a01_what_a_job_leaves_is_killed(ground: Ground, cluster: Backend) -> None:
    end, log = await run(ground, cluster, spec("sleep 300 & setsid sleep 300 & echo done"))
    assert (end.exit_code, log) == (0, "done\n")


async def test_a07_a_step_that_signals_its_group_ends_nothing_else(ground: Ground, cluster: Backend) -> None:
    script = "trap : TERM; sleep 100 & kill 0; echo survived"
    end, log = await run(ground, cluster, steps(script, "echo next"))
    assert (end.exit_code, end.stopped, log) == (0, False, "survived\nnext\n")


async def test_a02_a_job_has_shared_memory(ground: Ground, cluster: Backend) -> None:
    program = 'import multiprocessing as m; m.Lock(); print(m.get_context("fork").Pool(2).map(abs, [-1, -2]))'
    end, log = await run(ground, cluster, steps(f"python3 -c '{program}'", "stat -c %a /dev/shm"))
    assert (end.exit_code, log) == (0, "[1, 2]\n1777\n")


@pytest.mark.parametrize("path", ["/dev/stdout", "/dev/stderr", "/dev/fd/1", "/dev/fd/2", "/proc/self/fd/2"])
async def test_a03_a_job_may_open_its_output_by_name(ground: Ground, cluster: Backend, path: str) -> None:
    end, log = await run(
        ground, cluster, spec(f"echo one > {path}; echo two | tee -a {path} > file; cat file")
    )
    assert (end.exit_code, log) == (0, "one\ntwo\ntwo\n")


async def test_a10_a_jobs_user_has_a_name_in_its_environment(ground: Ground, cluster: Backend) -> None:
    program = "import getpass; print(getpass.getuser())"
    script = f'test -n "$USER" && test "$USER" = "$LOGNAME" && test "$(python3 -c \'{program}\')" = "$USER"'
    end, log = await run(ground, cluster, spec(f"{script} && echo named"))
    assert (end.exit_code, log) == (0, "named\n")


@asynccontextmanager
async def unhurried(ground: Ground) -> AsyncIterator[Backend]:
    async with ground.unhurried().executor() as ours:
        yield ours
        for left in await ours.everything():
            await ours.remove(left.name, left.object_uid)


def with_last_steps(script: str, limit: int = 60) -> AttemptSpec:
    last = (
        Step(run=script),
        Step(run="echo never", condition="failure"),
        Step(run="echo cancelled", condition="cancelled"),
        Step(run="echo last; sleep 0.5; echo words", condition="always"),
    )
    wanted = spec(limit=limit)
    return replace(wanted, job=wanted.job.model_copy(update={"steps": last}))


async def test_a09_steps_with_always_run_after_a_stop(ground: Ground) -> None:
    async with unhurried(ground) as cluster:
        made = await begin(cluster, with_last_steps("echo begun; sleep 600"))
        await said(ground, made, "begun")
        await cluster.stop(made.name, made.pods[0].uid)
        _, end = await end_of(cluster, made)
        log = [line for line in (await ground.log_of(made)).splitlines() if line != "Terminated"]
    assert (end.stopped, log) == (True, ["begun", "cancelled", "last", "words"])


async def test_a09_steps_with_always_run_after_the_jobs_time(ground: Ground) -> None:
    async with unhurried(ground) as cluster:
        end, log = await run(ground, cluster, with_last_steps("echo begun; sleep 600", limit=1))
    lines = [line for line in log.splitlines() if line != "Terminated"]
    assert (end.time_limit, lines) == ("job", ["begun", "cancelled", "last", "words"])


async def test_rule_8_a_malformed_output_fails_its_step(ground: Ground, cluster: Backend) -> None:
    end, log = await run(
        ground,
        cluster,
        steps("echo A=1 >> $TOWPATH_OUTPUT; cat $TOWPATH_OUTPUT", "echo A >> $TOWPATH_OUTPUT", "echo never"),
    )
    assert (end.exit_code, log) == (1, "A=1\ntowpath: TOWPATH_OUTPUT: neither KEY=value nor KEY<<WORD: A\n")


async def test_rule_8_a_job_has_its_own_time_after_a_stop(ground: Ground, cluster: Backend) -> None:
    """The cluster's own grace period is shorter than the last step."""
    seconds = ground.grace_seconds + 1
    last = Step(run=f"echo last; sleep {seconds}; echo words", condition="cancelled")
    wanted = spec()
    job = wanted.job.model_copy(
        update={"steps": (Step(run="echo begun; sleep 600"), last), "stop_grace_seconds": 60}
    )
    made = await begin(cluster, replace(wanted, job=job))
    await said(ground, made, "begun")
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made)
    log = [line for line in (await ground.log_of(made)).splitlines() if line != "Terminated"]
    assert (end.stopped, log) == (True, ["begun", "last", "words"])
