"""Attempts on the local cluster, against a real database."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from services.executor.attempt_store import Place
from services.executor.local.pod_files import PodFiles, read_identity
from services.executor.registration import Registration
from services.executor.store import Judged
from services.executor.verdict import Verdict
from shared.messaging.messages import AttemptCancelRequested, AttemptReady, LogSealed
from shared.pipeline.model import Checkout, Step
from shared.statuses import Reason, Status
from tests.integration.executor.world import Local, World


def ready(*wanted: tuple[int, int]) -> AttemptReady:
    return AttemptReady(cluster="local", jobs=wanted)


def cancel(*wanted: tuple[int, int]) -> AttemptCancelRequested:
    return AttemptCancelRequested(cluster="local", jobs=wanted)


def oracle(world: World) -> Path:
    return world.settings.local_mounts[0] / "oracle"


def lines(world: World) -> list[str]:
    return oracle(world).read_text().splitlines() if oracle(world).exists() else []


# ---------------------------------------------------------------- the normal case


async def test_an_admitted_job_runs_and_succeeds(world: World, executor: Local) -> None:
    wanted = await world.job("echo hi")
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["exit_code"]) == ("success", None, 0)
    assert (attempt["containers"], attempt["object_uid"]) == (["job"], attempt["pod_uid"])
    assert attempt["claimed_at"] <= attempt["started_at"] <= attempt["finished_at"]
    assert await world.path(wanted) == ["creating", "claimed", "finished"]
    assert await world.sent() == ["attempt.claimed", "container.started", "attempt.finished"]


async def test_a_failed_step_is_named_with_its_times(world: World, executor: Local) -> None:
    wanted = await world.job(
        steps=(Step(name="build", run=":"), Step(name="test", run="exit 3"), Step(run=":"))
    )
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["message"]) == (
        "failed",
        "script_failed",
        'The step "test" ended with exit code 3.',
    )
    steps = await world.sql.fetch(
        "SELECT s->>'name' AS name, s->>'outcome' AS outcome, s->>'started_at' AS at FROM attempts, "
        "jsonb_array_elements(steps) s"
    )
    assert [(step["name"], step["outcome"], step["at"] is None) for step in steps] == [
        ("build", "success", False),
        ("test", "failed", False),
        (":", "skipped", True),
    ]


async def test_messages_sent_many_times_start_user_code_once(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo $TOWPATH_ATTEMPT >> {oracle(world)}")
    async with world.executor() as another:
        await asyncio.gather(
            *(
                one.consumers.on_messages([ready(wanted), ready(wanted)])
                for one in (executor, another)
                for _ in range(5)
            )
        )
        await world.finished(executor, wanted)
        await another.consumers.on_messages([ready(wanted)])
    assert lines(world) == ["1"]
    assert await world.path(wanted) == ["creating", "claimed", "finished"]


async def test_many_jobs_start_together(world: World, executor: Local) -> None:
    wanted = [await world.job(f"echo x >> {oracle(world)}") for _ in range(20)]
    await executor.consumers.on_messages([ready(*wanted)])
    for one in wanted:
        assert (await world.finished(executor, one))["outcome"] == "success"
    assert len(lines(world)) == 20


async def test_the_end_of_a_job_is_noticed_without_being_asked_for(world: World, executor: Local) -> None:
    watching = asyncio.create_task(executor.watching.run())
    try:
        wanted = await world.job("sleep 0.2")
        await executor.consumers.on_messages([ready(wanted)])
        await world.judged_by_itself(wanted)
    finally:
        watching.cancel()


# ---------------------------------------------------------------- attempts that cannot run


async def test_a_job_whose_labels_the_cluster_does_not_have_is_refused(world: World, executor: Local) -> None:
    await Registration(world.store, Place("local", world.installation, {"region": "us"})).register()
    wanted = await world.job(f"echo ran >> {oracle(world)}", cluster={"region": "eu"})
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("error", "config_invalid")
    assert attempt["message"].startswith("No cluster has the labels region=eu that `cluster` asks for.")
    assert "Registered: local (region=us)." in attempt["message"]
    assert lines(world) == []


async def test_a_cluster_is_registered_with_its_labels_again_and_again(world: World) -> None:
    for labels in ({}, {"region": "eu"}, {"region": "us"}):
        await Registration(world.store, Place("local", world.installation, labels)).register()
    rows = await world.sql.fetch(
        "SELECT name, labels->>'region' AS region, seen_at > registered_at AS seen FROM clusters"
    )
    assert [tuple(row) for row in rows] == [("local", "us", True)]


async def test_an_untrusted_event_is_refused(world: World, executor: Local) -> None:
    await world.sql.execute("UPDATE events SET trusted = false")
    wanted = await world.job(f"echo x >> {oracle(world)}")
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.attempt(wanted)
    assert (attempt["status"], attempt["outcome"], attempt["reason"]) == (
        "finished",
        "error",
        "config_invalid",
    )
    assert (lines(world), world.pods()) == ([], [])


async def test_a_clone_that_fails_is_an_error_with_gits_words(world: World, executor: Local) -> None:
    wanted = await world.job(checkout=Checkout())
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["containers"]) == (
        "error",
        "clone_failed",
        ["clone", "job"],
    )
    assert attempt["message"].startswith("fatal: '/nowhere'")


async def test_rule_3_outputs_of_steps_are_stored_with_the_verdict(world: World, executor: Local) -> None:
    steps = (
        Step(id="a", run="printf 'x=1\\n' >> $TOWPATH_OUTPUT"),
        Step(id="b", run="printf 'y<<E\\n\"é\\n\\\\\\nE\\n' >> $TOWPATH_OUTPUT"),
    )
    outputs = {"x": "${{ steps.a.outputs.x }}${{ steps.b.outputs.y }}"}
    with_outputs = await world.job(steps=steps, outputs=outputs)
    without = await world.job(steps=steps)
    too_large = await world.job(
        steps=(Step(id="a", run="printf 'x=%070000d\\n' 0 >> $TOWPATH_OUTPUT"),), outputs=outputs
    )
    await executor.consumers.on_messages([ready(with_outputs), ready(without), ready(too_large)])
    attempt = await world.finished(executor, with_outputs)
    assert attempt["outcome"] == "success"
    stored = attempt["outputs"]
    assert (stored if isinstance(stored, dict) else orjson.loads(stored)) == {
        "a": {"x": "1"},
        "b": {"y": '"é\n\\'},
    }
    attempt = await world.finished(executor, without)
    assert (attempt["outcome"], attempt["outputs"] in ({}, "{}")) == ("success", True)
    attempt = await world.finished(executor, too_large)
    assert (attempt["outcome"], attempt["reason"], attempt["message"]) == (
        "failed",
        "script_failed",
        "The outputs of the job's steps are larger than 64 KiB together.",
    )


async def test_a_job_over_its_limit_has_timed_out(world: World, executor: Local) -> None:
    wanted = await world.job("sleep 600", timeout_seconds=1)
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["message"]) == (
        "failed",
        "timed_out",
        "The job ran longer than its limit of 1s.",
    )


@pytest.mark.parametrize(("stop_grace", "overdue"), [(None, True), (300, False)])
async def test_rule_8_a_job_with_its_own_time_after_a_stop_is_overdue_later(
    world: World, stop_grace: int | None, overdue: bool
) -> None:
    wanted = await world.job(timeout_seconds=60, stop_grace_seconds=stop_grace)
    await world.inserted(wanted)
    await world.sql.execute(
        "UPDATE attempts SET status = 'claimed', pod_uid = 'p', claimed_at = now() - interval '100 s'"
    )
    async with world.store.reading() as work:
        assert bool(await work.overdue_runs("local", 10)) is overdue


async def test_a_run_whose_time_is_over_starts_nothing(world: World, executor: Local) -> None:
    await world.sql.execute("UPDATE pipeline_runs SET started_at = now() - interval '1 day'")
    wanted = await world.job(f"echo x >> {oracle(world)}")
    await executor.consumers.on_messages([ready(wanted)])
    assert ((await world.attempt(wanted))["reason"], lines(world)) == ("timed_out", [])


async def test_f22_a_name_that_is_taken_is_a_fault_of_the_platform(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo x >> {oracle(world)}")
    spec = await world.inserted(wanted)
    await executor.cluster.create(replace(spec, creation_token="another's"))
    await executor.consumers.on_messages([ready(wanted)])
    assert ((await world.attempt(wanted))["reason"], lines(world)) == ("platform", [])


# ---------------------------------------------------------------- stops


async def test_a_running_job_is_stopped(world: World, executor: Local) -> None:
    wanted = await world.job("trap 'echo bye; exit 0' TERM; while :; do sleep 0.05; done")
    await executor.consumers.on_messages([ready(wanted)])
    await world.request_stop(wanted, "superseded")
    await executor.consumers.on_messages([cancel(wanted), cancel(wanted)])
    attempt = await world.finished(executor, wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("cancelled", "superseded")


async def test_a_stop_before_the_start_means_that_nothing_starts(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo x >> {oracle(world)}")
    await world.request_stop(wanted)
    await executor.consumers.on_messages([cancel(wanted)])
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.attempt(wanted)
    assert (attempt["status"], attempt["outcome"], attempt["reason"]) == (
        "finished",
        "cancelled",
        "cancelled_by_user",
    )
    assert attempt["removed_at"] is not None
    assert (await world.sent(), world.pods(), lines(world)) == (["attempt.finished"], [], [])


async def test_a_start_after_a_stop_was_asked_for_is_over_at_once(world: World, executor: Local) -> None:
    wanted = await world.job()
    await world.request_stop(wanted)
    await executor.consumers.on_messages([ready(wanted)])
    assert (await world.attempt(wanted))["outcome"] == "cancelled"
    assert await world.sent() == ["attempt.finished"]


async def test_a_stop_between_creation_and_claim_wins(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo x >> {oracle(world)}")
    await world.inserted(wanted)
    await world.request_stop(wanted)
    await executor.consumers.on_messages([ready(wanted)])
    assert world.pods() == [world.name((await world.attempt(wanted))["id"])]
    await executor.consumers.on_messages([cancel(wanted)])
    assert (await world.attempt(wanted))["outcome"] == "cancelled"
    assert (world.pods(), lines(world)) == ([], [])


async def test_a_job_that_had_ended_keeps_its_verdict(world: World, executor: Local) -> None:
    wanted = await world.job("exit 4")
    await executor.consumers.on_messages([ready(wanted)])
    await world.ended(executor, wanted)
    await world.request_stop(wanted)
    await executor.consumers.on_messages([cancel(wanted)])
    assert (await world.finished(executor, wanted))["reason"] == "script_failed"


async def test_f33_starts_and_stops_at_once_give_one_verdict_each(world: World, executor: Local) -> None:
    wanted = [await world.job("sleep 600") for _ in range(8)]
    for one in wanted:
        await world.request_stop(one)
    await asyncio.gather(
        *(
            executor.consumers.on_messages([message])
            for one in wanted
            for message in (ready(one), cancel(one), ready(one))
        )
    )
    for one in wanted:
        assert (await world.finished(executor, one))["outcome"] == "cancelled"
        assert (await world.path(one))[-1:] == ["finished"]
    await executor.attempts.sweep()
    assert world.pods() == []


# ---------------------------------------------------------------- crashes and reconcilers


async def test_messages_that_never_came_are_made_up_for(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo x >> {oracle(world)}")
    assert await executor.checks.admitted_without_attempt() == 1
    await world.finished(executor, wanted)
    assert (await executor.checks.admitted_without_attempt(), lines(world)) == (0, ["x"])


async def test_an_executor_that_died_after_creating_is_replaced(world: World, executor: Local) -> None:
    """The pod waits at its gate and is adopted, although the attempt's row does not name it yet."""
    wanted = await world.job(f"echo x >> {oracle(world)}")
    spec = await world.inserted(wanted)
    made = await executor.cluster.create(spec)
    assert await executor.checks.attempts_without_claim() == 1
    attempt = await world.finished(executor, wanted)
    assert (attempt["pod_uid"], lines(world)) == (made.pods[0].uid, ["x"])


async def test_an_executor_that_died_after_the_claim_is_replaced(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo x >> {oracle(world)}")
    spec = await world.inserted(wanted)
    made = await executor.cluster.create(spec)
    async with world.store.transaction() as work:
        assert list(await work.claim([made])) == [made.attempt_id]
        assert list(await work.claim([replace(made, pods=(replace(made.pods[0], uid="another"),))])) == []
        assert list(await work.claim([made])) == [made.attempt_id]
    assert await executor.checks.claimed_attempts() == 1
    assert (await world.finished(executor, wanted))["outcome"] == "success"
    assert lines(world) == ["x"]


async def test_f27_jobs_go_on_while_no_executor_is_there(world: World) -> None:
    async with world.executor() as first:
        ends, goes_on = await world.job("exit 6"), await world.job("sleep 0.5; exit 7")
        await first.consumers.on_messages([ready(ends, goes_on)])
    async with world.executor() as second:
        await second.checks.claimed_attempts()
        assert (await world.finished(second, ends))["exit_code"] == 6
        assert (await world.finished(second, goes_on))["exit_code"] == 7


async def test_f26_a_pod_that_was_deleted_by_hand_is_lost(world: World, executor: Local) -> None:
    wanted = await world.job(f"echo x >> {oracle(world)}; sleep 600")
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.attempt(wanted)
    await executor.cluster.remove(world.name(attempt["id"]), attempt["object_uid"])
    assert await executor.checks.claimed_attempts() == 1
    attempt = await world.attempt(wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("error", "lost")
    await executor.consumers.on_messages([ready(wanted)])
    assert len(lines(world)) <= 1


async def test_a_killed_supervisor_is_lost(world: World, executor: Local) -> None:
    wanted = await world.job("sleep 600")
    await executor.consumers.on_messages([ready(wanted)])
    identity = read_identity(PodFiles(Path((await world.attempt(wanted))["log_location"])))
    assert identity is not None
    os.kill(identity.supervisor_pid, signal.SIGKILL)
    assert (await world.finished(executor, wanted))["reason"] == "lost"


async def test_a_verdict_is_final_and_belongs_to_the_pod_that_was_judged(
    world: World, executor: Local
) -> None:
    wanted = await world.job("sleep 600")
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.attempt(wanted)
    failed = Verdict(outcome=Status.FAILED, reason=Reason.SCRIPT_FAILED, message="no\0 NUL")
    async with world.store.transaction() as work:
        assert (
            await work.finish([Judged(attempt["id"], "another pod", failed), Judged(10**9, None, failed)])
            == {}
        )
        assert list(await work.finish([Judged(attempt["id"], None, failed)])) == []
        assert list(await work.finish([Judged(attempt["id"], attempt["pod_uid"], failed)])) == [attempt["id"]]
        assert (
            await work.finish(
                [
                    Judged(
                        attempt["id"],
                        attempt["pod_uid"],
                        replace(failed, outcome=Status.SUCCESS, reason=None),
                    )
                ]
            )
            == {}
        )
    assert (await world.attempt(wanted))["message"] == "no NUL"


async def test_a_stop_that_nobody_heard_is_done(world: World, executor: Local) -> None:
    wanted, unmade = await world.job("sleep 600"), await world.job()
    await executor.consumers.on_messages([ready(wanted)])
    await world.request_stop(wanted)
    assert await executor.checks.stops_not_done() == 1
    assert (await world.finished(executor, wanted))["outcome"] == "cancelled"
    await world.request_stop(unmade)
    await executor.checks.admitted_without_attempt()
    assert (await world.attempt(unmade))["outcome"] == "cancelled"


# ---------------------------------------------------------------- removal


async def test_a_pod_stays_until_its_logs_are_sealed(world: World, executor: Local) -> None:
    wanted = await world.job()
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    sealed = LogSealed(cluster="local", attempt_ids=(attempt["id"],))
    await executor.consumers.on_messages([sealed])
    await executor.attempts.sweep()
    assert world.pods() == [world.name(attempt["id"])]
    await world.seal_logs(attempt["id"])
    await executor.consumers.on_messages([sealed, sealed])
    assert world.pods() == []
    assert (await world.attempt(wanted))["removed_at"] is not None


async def test_a_seal_before_the_verdict_removes_nothing(world: World, executor: Local) -> None:
    wanted = await world.job("sleep 600")
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.attempt(wanted)
    await world.seal_logs(attempt["id"])
    await executor.consumers.on_messages([LogSealed(cluster="local", attempt_ids=(attempt["id"],))])
    await executor.attempts.sweep()
    assert world.pods() == [world.name(attempt["id"])]


@pytest.mark.parametrize("check", ["finished_not_removed", "objects_without_attempt"])
async def test_a_sealed_pod_that_nobody_removed_is_found(world: World, executor: Local, check: str) -> None:
    wanted = await world.job()
    await executor.consumers.on_messages([ready(wanted)])
    attempt = await world.finished(executor, wanted)
    await world.seal_logs(attempt["id"])
    assert await getattr(executor.checks, check)() == 1
    assert world.pods() == []


async def test_a_pod_of_no_attempt_is_removed_and_another_installations_is_not(
    world: World, executor: Local
) -> None:
    wanted = await world.job()
    spec = await world.inserted(wanted)
    await executor.cluster.create(replace(spec, attempt_id=10**6, name=world.name(10**6)))
    foreign = world.settings.local_dir / "pods" / "tp-zzzzzzzz-1"
    foreign.mkdir()
    assert await executor.checks.objects_without_attempt() == 1
    assert world.pods() == [foreign.name]
