"""Contract tests of clusters: hold attempts at the gate, run them once, end them, and remove them.

See `services.executor.backend.Backend`.
"""

import asyncio
import time

import pytest

from services.executor.backend import Backend, NameTaken, Phase
from shared.errors import Transient
from tests.contracts.clusters import spec
from tests.contracts.grounds import Ground, begin, created, end_of, run, said
from tests.harness.waiting import until

# ---------------------------------------------------------------- create and release


async def test_a_pod_runs_nothing_before_its_release(ground: Ground, cluster: Backend) -> None:
    made = await created(cluster, spec("echo ran"))
    assert (made.pods[0].phase, made.containers) == (Phase.GATED, ("job",))
    assert await ground.log_of(made) == ""
    await cluster.release(made.name, made.pods[0].uid)
    assert (await end_of(cluster, made))[1].exit_code == 0
    assert await ground.log_of(made) == "ran\n"


async def test_creating_again_finds_the_same_pod(cluster: Backend) -> None:
    first, second = await asyncio.gather(created(cluster, spec()), created(cluster, spec()))
    assert (first.pods[0].uid, first.object_uid) == (second.pods[0].uid, second.object_uid)

    async def shown() -> bool:
        return [check.object_uid for check in await cluster.everything()] == [first.object_uid]

    await until(shown, within=10, what="one attempt")


async def test_another_attempts_pod_is_not_adopted(cluster: Backend) -> None:
    await cluster.create(spec(token="one"))
    with pytest.raises(NameTaken):
        await cluster.create(spec(token="two"))


async def test_a_release_for_another_uid_opens_nothing(cluster: Backend) -> None:
    made = await created(cluster, spec())
    await cluster.release(made.name, "another uid")
    assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED


async def test_releasing_twice_runs_once(ground: Ground, cluster: Backend) -> None:
    made = await begin(cluster, spec("echo once"))
    await cluster.release(made.name, made.pods[0].uid)
    await end_of(cluster, made)
    await cluster.release(made.name, made.pods[0].uid)
    assert await ground.log_of(made) == "once\n"


async def test_a_pod_that_went_at_its_gate_is_made_anew(ground: Ground, cluster: Backend) -> None:
    dead = await created(cluster, spec("echo alive"))
    await ground.destroy(dead)
    await end_of(cluster, dead)
    made = await created(cluster, spec("echo alive"))
    assert made.pods[0].uid != dead.pods[0].uid
    await cluster.release(made.name, dead.pods[0].uid)
    assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED
    await cluster.release(made.name, made.pods[0].uid)
    assert (await end_of(cluster, made))[1].exit_code == 0
    assert await ground.log_of(made) == "alive\n"


async def test_what_is_known_is_what_was_made(cluster: Backend) -> None:
    made = await created(cluster, spec())

    async def known() -> bool:
        found = (await cluster.known([made.name])).get(made.name)
        return found is not None and [pod.uid for pod in found.pods] == [made.pods[0].uid]

    await until(known, within=10, what="the pod is known")


# ---------------------------------------------------------------- how it ends


async def test_exit_code_and_output_are_kept(ground: Ground, cluster: Backend) -> None:
    end, log = await run(ground, cluster, spec("echo out; echo err >&2; printf 'no line feed'; exit 7"))
    assert (end.exit_code, end.stopped, end.time_limit, log) == (7, False, None, "out\nerr\nno line feed")
    assert end.started_at is not None
    assert " f7\n" in end.termination


async def test_a_lot_of_output_is_kept_in_order(ground: Ground, cluster: Backend) -> None:
    _, log = await run(
        ground, cluster, spec("seq 1 200000; head -c 70000 /dev/zero | tr '\\0' x; echo; echo last")
    )
    lines = log.splitlines()
    assert [len(lines), *lines[:2], *(len(line) for line in lines[-3:])] == [200002, "1", "2", 6, 70000, 4]
    assert log == "".join(f"{number}\n" for number in range(1, 200001)) + "x" * 70000 + "\nlast\n"


async def test_what_a_job_says_on_both_of_its_outputs_is_kept_in_the_order_in_which_it_was_said(
    ground: Ground, cluster: Backend
) -> None:
    _, log = await run(ground, cluster, spec("for i in $(seq 1 300); do echo out $i; echo err $i >&2; done"))
    assert log == "".join(f"out {number}\nerr {number}\n" for number in range(1, 301))


async def test_a_job_over_its_limit_is_ended(ground: Ground, cluster: Backend) -> None:
    end, log = await run(
        ground,
        cluster,
        spec("trap 'echo cleaning; exit 0' TERM; echo begun; while :; do sleep 0.05; done", limit=1),
    )
    assert (end.time_limit, log.splitlines()[0], "cleaning" in log.splitlines()) == ("job", "begun", True)
    assert end.started_at is not None
    assert end.finished_at is not None
    assert 0 <= (end.finished_at - end.started_at).total_seconds() < 10


async def test_a_stop_leaves_time_to_clean_up(ground: Ground, cluster: Backend) -> None:
    made = await begin(
        cluster, spec("trap 'echo cleaning; exit 0' TERM; echo begun; while :; do sleep 0.05; done")
    )
    await said(ground, made, "begun")
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made)
    assert (end.stopped, (await ground.log_of(made)).splitlines()[-1]) == (True, "cleaning")


async def test_a_job_that_ignores_sigterm_is_killed(ground: Ground, cluster: Backend) -> None:
    made = await begin(
        cluster, spec("trap '' TERM; setsid sleep 600 & echo begun; while :; do sleep 0.05; done")
    )
    await said(ground, made, "begun")
    asked = time.monotonic()
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made)
    assert end.stopped
    assert time.monotonic() - asked >= ground.grace_seconds


async def test_a_stop_at_the_gate_means_that_nothing_runs(ground: Ground, cluster: Backend) -> None:
    made = await created(cluster, spec("echo ran"))
    await cluster.stop(made.name, made.pods[0].uid)
    _, end = await end_of(cluster, made)
    assert (end.stopped, end.exit_code, await ground.log_of(made)) == (True, None, "")


async def test_a_stop_of_a_pod_that_has_ended_changes_nothing(cluster: Backend) -> None:
    made = await begin(cluster, spec("exit 3"))
    _, end = await end_of(cluster, made)
    await cluster.stop(made.name, made.pods[0].uid)
    assert (await cluster.observe([made.name]))[made.name].pods[0].end == end


# ---------------------------------------------------------------- several executors


async def test_another_executor_sees_and_hears_what_this_one_began(ground: Ground, cluster: Backend) -> None:
    made = await begin(cluster, spec("echo begun; sleep 0.5; exit 4"))
    async with ground.executor() as another:
        assert (await end_of(another, made))[1].exit_code == 4

        async def shown() -> bool:
            return [check.name for check in await another.everything()] == [made.name]

        await until(shown, within=10, what="the attempt")


async def test_jobs_outlive_their_executor(ground: Ground) -> None:
    async with ground.executor() as first:
        made = await begin(first, spec("echo begun; sleep 0.3; echo end"))
        gated = await created(first, spec("echo later", attempt=2))
    async with ground.executor() as second:
        await second.release(gated.name, gated.pods[0].uid)
        for one in (made, gated):
            assert (await end_of(second, one))[1].exit_code == 0
        assert (await ground.log_of(made), await ground.log_of(gated)) == ("begun\nend\n", "later\n")
        for one in (made, gated):
            await second.remove(one.name, one.object_uid)


async def test_f64_another_installations_pods_are_not_seen(ground: Ground, cluster: Backend) -> None:
    made = await created(cluster, spec())
    async with ground.executor("zzzzzzzz") as another:
        await until(lambda: nothing_in(another), within=10, what="a look at nothing")
        assert await another.observe([made.name]) == {}
        assert await another.known([made.name]) == {}


async def nothing_in(cluster: Backend) -> bool:
    return await listed(cluster) == []


async def listed(cluster: Backend) -> list[str] | None:
    try:
        return [check.name for check in await cluster.everything()]
    except Transient:  # the executor has not listed them yet
        return None


# ---------------------------------------------------------------- removal


async def test_a_removed_pod_is_gone(ground: Ground, cluster: Backend) -> None:
    made = await begin(cluster, spec("setsid sleep 600 & echo begun; sleep 600"))
    await said(ground, made, "begun")
    await cluster.remove(made.name, made.object_uid)
    await until(lambda: nothing_in(cluster), within=30, what="the pod is gone")


async def test_a_removal_for_another_uid_changes_nothing(cluster: Backend) -> None:
    made = await created(cluster, spec())
    await cluster.remove(made.name, "another uid")
    assert (await cluster.observe([made.name]))[made.name].pods[0].phase is Phase.GATED
