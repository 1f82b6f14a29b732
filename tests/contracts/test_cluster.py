"""What every cluster must do with attempts: hold them, run them once, end them, remove them."""

import asyncio
import fcntl
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.executor.cluster import NameTaken, Phase, Refused
from services.executor.local.cluster import LocalCluster, LocalLimits
from services.executor.local.processes import descendants, marked
from services.executor.local.sandbox import Sandbox
from shared.errors import Transient
from tests.contracts.clusters import AS_ROOT, INSTALLATION, LIMITS, begin, create_again, end_of, log_of, run, said, spec, supervisor_of

# ---------------------------------------------------------------- create and release


async def test_a_pod_runs_nothing_before_its_release(cluster: LocalCluster, folder: Path) -> None:
    made = await cluster.create(spec(f"echo ran > {folder}/mount/oracle"))
    assert (made.pods[0].phase, made.containers) == (Phase.GATED, ("job",))
    assert descendants(supervisor_of(made)) == []
    assert not (folder / "mount" / "oracle").exists()
    await cluster.release(made.name, made.pods[0].uid)
    assert (await end_of(cluster, made.name))[1].exit_code == 0
    assert (folder / "mount" / "oracle").read_text() == "ran\n"


async def test_creating_again_finds_the_same_pod(cluster: LocalCluster) -> None:
    first, second = await asyncio.gather(cluster.create(spec()), cluster.create(spec()))
    assert first.pods[0].uid == second.pods[0].uid
    assert len(await cluster.everything()) == 1


async def test_another_attempts_pod_is_not_adopted(cluster: LocalCluster) -> None:
    await cluster.create(spec(token="one"))
    with pytest.raises(NameTaken):
        await cluster.create(spec(token="two"))


async def test_a_release_for_another_uid_opens_nothing(cluster: LocalCluster) -> None:
    made = await cluster.create(spec())
    await cluster.release(made.name, "another uid")
    assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED


async def test_releasing_twice_runs_once(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("echo once"))
    await cluster.release(made.name, made.pods[0].uid)
    await end_of(cluster, made.name)
    await cluster.release(made.name, made.pods[0].uid)
    assert log_of(made) == "once\n"


async def test_a_pod_that_died_at_its_gate_is_made_anew(cluster: LocalCluster) -> None:
    dead = await cluster.create(spec("echo alive"))
    os.kill(supervisor_of(dead), signal.SIGKILL)
    assert (await end_of(cluster, dead.name))[0] is Phase.LOST
    made = await cluster.create(spec("echo alive"))
    assert made.pods[0].uid != dead.pods[0].uid
    await cluster.release(made.name, dead.pods[0].uid)
    assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED
    await cluster.release(made.name, made.pods[0].uid)
    await end_of(cluster, made.name)
    assert log_of(made) == "alive\n"


async def test_a_pod_that_nobody_releases_ends_without_having_run(sandbox: Sandbox, folder: Path) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=0.05, clone_seconds=60)
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        made = await cluster.create(spec("echo ran"))
        phase, end = await end_of(cluster, made.name)
        assert (phase, end.exit_code, log_of(made)) == (Phase.ENDED, None, "")


async def test_a_release_whose_signal_was_lost_counts_all_the_same(sandbox: Sandbox, folder: Path) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=0.5, clone_seconds=60)
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        made = await cluster.create(spec("echo ran"))
        (Path(made.log_location) / "go").write_text(made.pods[0].uid)  # as an executor leaves it that was killed before it sent the signal
        assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED
        _, end = await end_of(cluster, made.name)
        assert (end.exit_code, log_of(made)) == (0, "ran\n")


async def test_code_of_strangers_is_refused(cluster: LocalCluster) -> None:
    with pytest.raises(Refused, match="may not write"):
        await cluster.create(replace(spec(), trusted=False))


async def test_a_killed_fork_server_takes_no_pod_along_and_is_replaced(cluster: LocalCluster) -> None:
    first = await begin(cluster, spec("echo begun; sleep 0.3; echo end"))
    server = cluster._server._process
    assert server is not None
    server.kill()
    await server.wait()
    second = await create_again(cluster, spec("echo second", attempt=2))
    await cluster.release(second.name, second.pods[0].uid)
    for made in (first, second):
        assert (await end_of(cluster, made.name))[1].exit_code == 0
    assert (log_of(first), log_of(second)) == ("begun\nend\n", "second\n")


async def test_a_pod_that_can_not_be_made_disturbs_no_other(cluster: LocalCluster, folder: Path) -> None:
    server = cluster._server._process
    with pytest.raises(Transient, match="too long"):
        await cluster.create(replace(spec(), name=f"tp-{INSTALLATION}-{'1' * 300}"))
    end, _ = await run(cluster, spec("exit 4", attempt=2))
    assert (end.exit_code, cluster._server._process) == (4, server)
    assert [path.name for path in (folder / "local" / "pods").iterdir()] == [f"tp-{INSTALLATION}-2"]


async def test_a_full_disk_makes_attempts_wait(sandbox: Sandbox, folder: Path) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=60, clone_seconds=60, free_bytes=1 << 62)
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        with pytest.raises(Transient):
            await cluster.create(spec())


# ---------------------------------------------------------------- how it ends


async def test_exit_code_and_output_are_kept(cluster: LocalCluster) -> None:
    end, log = await run(cluster, spec("echo out; echo err >&2; printf 'no line feed'; exit 7"))
    assert (end.exit_code, end.stopped, end.time_limit, log) == (7, False, None, "out\nerr\nno line feed")
    assert end.started_at is not None
    assert "end 1 failed 7" in end.termination


async def test_a_lot_of_output_is_kept_in_order(cluster: LocalCluster) -> None:
    _, log = await run(cluster, spec("seq 1 200000; head -c 70000 /dev/zero | tr '\\0' x; echo; echo last"))
    assert log == "".join(f"{number}\n" for number in range(1, 200001)) + "x" * 70000 + "\nlast\n"


async def test_no_process_is_left_when_a_job_ends(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("setsid sh -c 'trap \"\" TERM HUP; sleep 600' & sleep 600 & (setsid sleep 600 &) ; echo done"))
    _, end = await end_of(cluster, made.name)
    assert (end.exit_code, log_of(made)) == (0, "done\n")
    assert marked(made.pods[0].uid) == []


async def test_a_job_over_its_limit_is_ended(cluster: LocalCluster) -> None:
    began = time.monotonic()
    end, log = await run(cluster, spec("trap 'echo cleaning; exit 0' TERM; echo begun; while :; do sleep 0.05; done", limit=1))
    assert (end.time_limit, log.splitlines()[0], log.splitlines()[-1]) == ("job", "begun", "cleaning")
    assert 1 <= time.monotonic() - began < 10


async def test_a_runs_limit_ends_its_jobs(cluster: LocalCluster) -> None:
    end, _ = await run(cluster, spec("sleep 600", run_limit=0.3))
    assert end.time_limit == "run"


async def test_a_stop_leaves_time_to_clean_up(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("trap 'echo cleaning; exit 0' TERM; echo begun; while :; do sleep 0.05; done"))
    await said(made, "begun")
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made.name)
    assert (end.stopped, log_of(made).splitlines()[-1]) == (True, "cleaning")


async def test_a_job_that_ignores_sigterm_is_killed_with_all_its_children(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("trap '' TERM; setsid sleep 600 & echo begun; while :; do sleep 0.05; done"))
    await said(made, "begun")
    asked = time.monotonic()
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made.name)
    assert end.stopped
    assert LIMITS.grace_seconds <= time.monotonic() - asked < 10
    assert marked(made.pods[0].uid) == []


async def test_a_stop_at_the_gate_means_that_nothing_runs(cluster: LocalCluster) -> None:
    made = await cluster.create(spec("echo ran"))
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made.name)
    assert (end.stopped, end.exit_code, log_of(made)) == (True, None, "")


async def test_a_stop_of_a_pod_that_has_ended_changes_nothing(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("exit 3"))
    _, end = await end_of(cluster, made.name)
    await cluster.stop(made.name, made.pods[0].uid)
    assert (await cluster.observe([made.name]))[made.name].pods[0].end == end


async def test_a_killed_supervisor_loses_the_pod_and_leaves_no_process(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("setsid sleep 600 & echo begun; sleep 600"))
    await said(made, "begun")
    os.kill(supervisor_of(made), signal.SIGKILL)
    assert (await end_of(cluster, made.name))[0] is Phase.LOST
    assert marked(made.pods[0].uid) == []


async def test_what_does_not_die_has_not_ended(cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    made, other = await begin(cluster, spec("echo begun; sleep 600")), await begin(cluster, spec("exit 3", attempt=2))
    await said(made, "begun")
    monkeypatch.setattr("services.executor.local.cluster._ORPHANS_SECONDS", 0.1)
    with monkeypatch.context() as immortal:
        immortal.setattr("services.executor.local.cluster.marked", lambda uid: [2**30] if uid == made.pods[0].uid else [])
        os.kill(supervisor_of(made), signal.SIGKILL)
        await cluster.changed()
        assert (await end_of(cluster, other.name))[1].exit_code == 3
        assert (await cluster.observe([made.name, other.name]))[made.name].pods[0].phase is Phase.RELEASED
    assert (await end_of(cluster, made.name))[0] is Phase.LOST


async def test_nothing_runs_on_when_the_log_can_not_be_written(cluster: LocalCluster) -> None:
    made = await cluster.create(spec("setsid sleep 600 & echo begun; sleep 600"))
    log = Path(made.log_location) / "log" / "job.log"
    log.unlink()
    log.symlink_to("/dev/full")
    await cluster.release(made.name, made.pods[0].uid)
    phase, end = await end_of(cluster, made.name)
    assert phase is Phase.ENDED
    assert end.fault is not None
    assert marked(made.pods[0].uid) == []


async def test_a_job_can_not_claim_an_end_that_it_did_not_have(cluster: LocalCluster, sandbox: Sandbox) -> None:
    if not AS_ROOT and not sandbox.bubblewrap:
        pytest.skip("without a user of its own or a sandbox a job can write what its supervisor can")
    end, _ = await run(cluster, spec('for f in status.json ended/job stop go; do (echo x > "../$f"; echo x > "../../$f") || :; done; exit 5'))
    assert (end.exit_code, end.stopped) == (5, False)


# ---------------------------------------------------------------- other executors


async def test_another_executor_sees_and_hears_what_this_one_began(cluster: LocalCluster, sandbox: Sandbox, folder: Path) -> None:
    made = await begin(cluster, spec("echo begun; sleep 0.2; exit 4"))
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, LIMITS) as another:
        assert [look.name for look in await another.everything()] == [made.name]
        assert (await end_of(another, made.name))[1].exit_code == 4


async def test_jobs_outlive_their_executor(sandbox: Sandbox, folder: Path) -> None:
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, LIMITS) as first:
        made = await begin(first, spec("echo begun; sleep 0.3; echo end"))
        gated = await first.create(spec("echo later", attempt=2))
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, LIMITS) as second:
        await second.release(gated.name, gated.pods[0].uid)
        assert (await end_of(second, made.name))[1].exit_code == 0
        assert (await end_of(second, gated.name))[1].exit_code == 0
        assert (log_of(made), log_of(gated)) == ("begun\nend\n", "later\n")


async def test_another_installations_pods_are_not_seen(cluster: LocalCluster, sandbox: Sandbox, folder: Path) -> None:
    made = await cluster.create(spec())
    async with LocalCluster(folder / "local", "zzzzzzzz", sandbox, LIMITS) as another:
        assert await another.everything() == []
        assert await another.observe([made.name]) == {}


# ---------------------------------------------------------------- removal


async def test_a_removed_pod_is_gone_with_its_processes(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("setsid sleep 600 & echo begun; sleep 600"))
    await said(made, "begun")
    await cluster.remove(made.name, made.object_uid)
    assert await cluster.observe([made.name]) == {}
    assert marked(made.pods[0].uid) == []
    assert await cluster.everything() == []


async def test_a_removal_for_another_uid_changes_nothing(cluster: LocalCluster) -> None:
    made = await cluster.create(spec())
    await cluster.remove(made.name, "another uid")
    assert made.name in await cluster.observe([made.name])


async def test_an_executor_that_stands_still_in_a_removal_holds_up_no_other(cluster: LocalCluster, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.executor.local.cluster._LOCK_SECONDS", 0.05)
    made = await cluster.create(spec())
    with (folder / "local" / "removals.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Transient):
            await cluster.remove(made.name, made.object_uid)
    await cluster.remove(made.name, made.object_uid)
    assert await cluster.everything() == []


async def test_the_workspace_goes_before_the_logs(cluster: LocalCluster) -> None:
    made = await begin(cluster, spec("mkdir -p a/b; : > a/b/c; ln -s / a/root; chmod 0 a/b; echo kept"))
    await end_of(cluster, made.name)
    await cluster.drop_workspace(made.name, made.object_uid)
    await cluster.drop_workspace(made.name, made.object_uid)
    assert not (Path(made.log_location) / "job").exists()
    assert log_of(made) == "kept\n"
