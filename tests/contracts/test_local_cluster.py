"""Tests of the local cluster beyond the contract of all clusters: processes, descriptors and folders."""

import fcntl
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from services.executor.backend import Phase, Refused
from services.executor.local.backend import LocalBackend, LocalLimits
from services.executor.local.processes import descendants, marked
from services.executor.local.sandbox import Sandbox
from services.logsink.pod_directory import PodDirectory
from shared.errors import Transient
from tests.contracts.clusters import (
    AS_ROOT,
    INSTALLATION,
    LIMITS,
    begin,
    create_again,
    end_of,
    log_of,
    run,
    said,
    spec,
    supervisor_of,
)


async def test_a_pod_runs_nothing_before_its_release(local_cluster: LocalBackend, folder: Path) -> None:
    made = await local_cluster.create(spec(f"echo ran > {folder}/mount/oracle"))
    assert (made.pods[0].phase, made.containers) == (Phase.GATED, ("job",))
    assert descendants(supervisor_of(made)) == []
    assert not (folder / "mount" / "oracle").exists()
    await local_cluster.release(made.name, made.pods[0].uid)
    assert (await end_of(local_cluster, made.name))[1].exit_code == 0
    assert (folder / "mount" / "oracle").read_text() == "ran\n"


async def test_a_pod_that_nobody_releases_ends_without_having_run(sandbox: Sandbox, folder: Path) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=0.05, clone_seconds=60)
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        made = await cluster.create(spec("echo ran"))
        phase, end = await end_of(cluster, made.name)
        assert (phase, end.exit_code, log_of(made)) == (Phase.ENDED, None, "")


async def test_a_release_whose_signal_was_lost_counts_all_the_same(sandbox: Sandbox, folder: Path) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=2, clone_seconds=60)
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        made = await cluster.create(spec("echo ran"))
        (Path(made.log_location) / "go").write_text(
            made.pods[0].uid
        )  # as after an executor that was killed before it sent the signal
        assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED
        _, end = await end_of(cluster, made.name)
        assert (end.exit_code, log_of(made)) == (0, "ran\n")


async def test_code_of_strangers_is_refused(local_cluster: LocalBackend) -> None:
    with pytest.raises(Refused, match="may not write"):
        await local_cluster.create(replace(spec(), trusted=False))


async def test_a_killed_fork_server_takes_no_pod_along_and_is_replaced(local_cluster: LocalBackend) -> None:
    first = await begin(local_cluster, spec("echo begun; sleep 0.3; echo end"))
    server = local_cluster._server._process
    assert server is not None
    server.kill()
    await server.wait()
    second = await create_again(local_cluster, spec("echo second", attempt=2))
    await local_cluster.release(second.name, second.pods[0].uid)
    for made in (first, second):
        assert (await end_of(local_cluster, made.name))[1].exit_code == 0
    assert (log_of(first), log_of(second)) == ("begun\nend\n", "second\n")


async def test_a_pod_that_can_not_be_made_disturbs_no_other(
    local_cluster: LocalBackend, folder: Path
) -> None:
    server = local_cluster._server._process
    with pytest.raises(Transient, match="too long"):
        await local_cluster.create(replace(spec(), name=f"tp-{INSTALLATION}-{'1' * 300}"))
    end, _ = await run(local_cluster, spec("exit 4", attempt=2))
    assert (end.exit_code, local_cluster._server._process) == (4, server)
    assert [path.name for path in (folder / "local" / "pods").iterdir()] == [f"tp-{INSTALLATION}-2"]


async def test_a_full_disk_makes_attempts_wait(sandbox: Sandbox, folder: Path) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=60, clone_seconds=60, free_bytes=1 << 62)
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        with pytest.raises(Transient):
            await cluster.create(spec())


async def test_no_process_is_left_when_a_job_ends(local_cluster: LocalBackend) -> None:
    made = await begin(
        local_cluster,
        spec("setsid sh -c 'trap \"\" TERM HUP; sleep 600' & sleep 600 & (setsid sleep 600 &) ; echo done"),
    )
    _, end = await end_of(local_cluster, made.name)
    assert (end.exit_code, log_of(made)) == (0, "done\n")
    assert marked(made.pods[0].uid) == []


async def test_a_runs_limit_ends_its_jobs(local_cluster: LocalBackend) -> None:
    end, _ = await run(local_cluster, spec("sleep 600", run_limit=0.3))
    assert end.time_limit == "run"


async def test_a_job_that_ignores_sigterm_is_killed_with_all_its_children(
    local_cluster: LocalBackend,
) -> None:
    made = await begin(
        local_cluster, spec("trap '' TERM; setsid sleep 600 & echo begun; while :; do sleep 0.05; done")
    )
    await said(made, "begun")
    asked = time.monotonic()
    await local_cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(local_cluster, made.name)
    assert end.stopped
    assert LIMITS.grace_seconds <= time.monotonic() - asked < 10
    assert marked(made.pods[0].uid) == []


async def test_a_killed_supervisor_loses_the_pod_and_leaves_no_process(local_cluster: LocalBackend) -> None:
    made = await begin(local_cluster, spec("setsid sleep 600 & echo begun; sleep 600"))
    await said(made, "begun")
    os.kill(supervisor_of(made), signal.SIGKILL)
    assert (await end_of(local_cluster, made.name))[0] is Phase.LOST
    assert marked(made.pods[0].uid) == []


async def test_a_log_sink_that_sees_no_process_of_the_pod_learns_of_its_end_from_the_lock(
    local_cluster: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.logsink.pod_directory.start_time", lambda _: None)
    made = await local_cluster.create(spec("(sleep 600 &) ; echo begun; sleep 600"))
    pod = PodDirectory(Path(made.log_location))
    assert pod.known_end("job") is None
    await local_cluster.release(made.name, made.pods[0].uid)
    await said(made, "begun")
    assert pod.known_end("job") is None
    os.kill(supervisor_of(made), signal.SIGKILL)
    assert (await end_of(local_cluster, made.name))[0] is Phase.LOST
    end = pod.known_end("job")
    assert end
    assert end.gap == "the pod's supervisor ended before its log did"


async def test_a_job_can_not_hold_a_lock_of_its_executor(local_cluster: LocalBackend, folder: Path) -> None:
    if not AS_ROOT:
        pytest.skip("without a user of its own a job can open what its supervisor can")
    first = await local_cluster.create(spec(attempt=2))
    await local_cluster.remove(first.name, first.object_uid)
    locks = "../../supervisor.lock ../../../../removals.lock"
    script = f'for f in {locks}; do flock -n "$f" echo locked || :; done; echo tried'
    made = await begin(local_cluster, spec(script))
    await end_of(local_cluster, made.name)
    assert (Path(made.log_location) / "supervisor.lock").exists()
    assert (folder / "local" / "removals.lock").exists()
    assert "locked" not in log_of(made)
    assert log_of(made).endswith("tried\n")


async def test_what_does_not_die_has_not_ended(
    local_cluster: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, other = (
        await begin(local_cluster, spec("echo begun; sleep 600")),
        await begin(local_cluster, spec("exit 3", attempt=2)),
    )
    await said(made, "begun")
    with monkeypatch.context() as immortal:
        immortal.setattr("services.executor.local.backend._ORPHANS_SECONDS", 0.1)
        immortal.setattr(
            "services.executor.local.backend.marked", lambda uid: [2**30] if uid == made.pods[0].uid else []
        )
        os.kill(supervisor_of(made), signal.SIGKILL)
        await local_cluster.changed()
        assert (await end_of(local_cluster, other.name))[1].exit_code == 3
        assert (await local_cluster.observe([made.name, other.name]))[made.name].pods[
            0
        ].phase is Phase.RELEASED
    assert (await end_of(local_cluster, made.name))[0] is Phase.LOST


async def test_nothing_runs_on_when_the_log_can_not_be_written(local_cluster: LocalBackend) -> None:
    made = await local_cluster.create(spec("setsid sleep 600 & echo begun; sleep 600"))
    log = Path(made.log_location) / "log" / "job.log"
    log.unlink()
    log.symlink_to("/dev/full")
    await local_cluster.release(made.name, made.pods[0].uid)
    phase, end = await end_of(local_cluster, made.name)
    assert phase is Phase.ENDED
    assert end.fault is not None
    assert marked(made.pods[0].uid) == []
    log_end = PodDirectory(Path(made.log_location)).known_end("job")
    assert log_end
    assert log_end.gap


async def test_a_job_can_not_claim_an_end_that_it_did_not_have(
    local_cluster: LocalBackend, sandbox: Sandbox
) -> None:
    if not AS_ROOT and not sandbox.bubblewrap:
        pytest.skip("without a user of its own or a sandbox a job can write what its supervisor can")
    end, _ = await run(
        local_cluster,
        spec(
            'for f in status.json ended/job stop go; do (echo x > "../$f"; echo x > "../../$f") || :; '
            "done; exit 5"
        ),
    )
    assert (end.exit_code, end.stopped) == (5, False)


async def test_a_removed_pod_is_gone_with_its_processes(local_cluster: LocalBackend) -> None:
    made = await begin(local_cluster, spec("setsid sleep 600 & echo begun; sleep 600"))
    await said(made, "begun")
    await local_cluster.remove(made.name, made.object_uid)
    assert await local_cluster.observe([made.name]) == {}
    assert marked(made.pods[0].uid) == []
    assert await local_cluster.everything() == []


async def test_an_executor_that_stands_still_in_a_removal_holds_up_no_other(
    local_cluster: LocalBackend, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.executor.local.backend._LOCK_SECONDS", 0.05)
    made = await local_cluster.create(spec())
    with (folder / "local" / "removals.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Transient):
            await local_cluster.remove(made.name, made.object_uid)
    await local_cluster.remove(made.name, made.object_uid)
    assert await local_cluster.everything() == []


async def test_the_workspace_goes_before_the_logs(local_cluster: LocalBackend) -> None:
    made = await begin(local_cluster, spec("mkdir -p a/b; : > a/b/c; ln -s / a/root; chmod 0 a/b; echo kept"))
    await end_of(local_cluster, made.name)
    await local_cluster.drop_workspace(made.name, made.object_uid)
    await local_cluster.drop_workspace(made.name, made.object_uid)
    assert not (Path(made.log_location) / "job").exists()
    assert log_of(made) == "kept\n"
