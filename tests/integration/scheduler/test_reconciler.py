"""Every queue may be purged: reconcilers find the remaining work and finish it.

They do the same as the lost messages would have done.
"""

import asyncio
from typing import Any

import pytest

from services.scheduler.reconciler import Steadiness
from shared.errors import Rejected
from tests.harness.github import push
from tests.integration.scheduler.world import CHAIN, ONE_JOB, TWO_JOBS, World


async def started(world: World, yaml: str = ONE_JOB) -> int:
    """Create a run and admit its ready jobs. Return the run's id."""
    await world.repository()
    await world.pipeline(yaml)
    await world.deliver(push(world.octo_web))
    await world.admission.admit()
    return int((await world.only_run())["id"])


async def test_a_delivery_of_which_nobody_was_told_is_decided(world: World) -> None:
    await world.repository()
    await world.pipeline()
    delivery_id = await world.delivery(push(world.octo_web), age_seconds=10)
    assert await world.scheduler.checks.undecided_deliveries() == 1
    assert await world.outcome(delivery_id) == "event"
    assert await world.only_run()
    assert await world.scheduler.checks.undecided_deliveries() == 0


async def test_young_deliveries_are_left_to_the_message_path(world: World) -> None:
    await world.repository()
    await world.delivery(push(world.octo_web))
    checks = world.another_scheduler(reconcile_age_seconds=60).checks
    assert await checks.undecided_deliveries() == 0


async def test_a_delivery_that_cannot_be_read_is_found_once(world: World) -> None:
    bad = await world.delivery(b"not json", age_seconds=10)
    assert await world.scheduler.checks.undecided_deliveries() == 1
    assert await world.outcome(bad) == "failed"
    assert await world.scheduler.checks.undecided_deliveries() == 0


async def test_looks_go_on_where_everything_is_decided_and_miss_nothing(world: World) -> None:
    await world.repository()
    checks = world.scheduler.checks
    await world.deliver(push(world.octo_web), age_seconds=600)
    left = await world.delivery(push(world.octo_web), age_seconds=599)
    await world.deliver(push(world.octo_web), age_seconds=598)
    assert await checks.undecided_deliveries() == 1
    assert await checks.undecided_deliveries() == 0
    young = await world.delivery(push(world.octo_web), age_seconds=10)
    assert await checks.undecided_deliveries() == 1
    assert (await world.outcome(left), await world.outcome(young)) == ("event", "event")


async def test_deliveries_that_another_replica_has_taken_are_left_to_it(world: World) -> None:
    await world.repository()
    await world.delivery(push(world.octo_web), age_seconds=10)
    async with world.database.transaction() as other:
        await other.execute("SELECT FROM deliveries FOR NO KEY UPDATE")
        assert await world.scheduler.checks.undecided_deliveries() == 0
    assert await world.scheduler.checks.undecided_deliveries() == 1


async def test_a_command_of_which_nobody_was_told_is_applied(world: World) -> None:
    run_id = await started(world)
    command_id = await world.command("cancel", run_id)
    await world.sql.execute("UPDATE commands SET created_at = now() - interval '10 seconds'")
    assert await world.scheduler.checks.commands_without_effect() == 1
    assert await world.effect(command_id) == ("applied", "cancelling")
    assert await world.scheduler.checks.commands_without_effect() == 0


async def test_attempts_of_which_nobody_was_told_are_folded(world: World) -> None:
    await started(world, TWO_JOBS)
    jobs = await world.jobs()
    await world.claim(jobs["left"]["id"])
    await world.finish(await world.claim(jobs["right"]["id"]))
    await world.sql.execute(
        "UPDATE attempts SET claimed_at = claimed_at - interval '9 seconds', finished_at = finished_at - "
        "interval '8 seconds'"
    )
    assert await world.scheduler.checks.attempts_not_folded() == 1
    assert await world.statuses() == {"left": "running", "right": "success"}
    assert await world.scheduler.checks.attempts_not_folded() == 0


async def test_waiting_jobs_wake_admission(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.deliver(push(world.octo_web))
    fresh = world.another_scheduler()
    admitting = asyncio.create_task(fresh.admission.run())
    await fresh.checks.jobs_not_admitted()
    async with asyncio.timeout(10):
        while (await world.jobs())["build"]["admitted_at"] is None:
            await asyncio.wait([admitting], timeout=0.02)
    admitting.cancel()


async def test_the_bell_is_rung_again_for_an_admitted_job_without_an_attempt(world: World) -> None:
    await started(world)
    job = (await world.jobs())["build"]
    await world.forget_messages()
    await world.sql.execute("UPDATE jobs SET admitted_at = now() - interval '10 seconds'")
    assert await world.scheduler.checks.admitted_without_attempt() == 1
    (ready,) = await world.sent("attempt.ready")
    assert (ready.cluster, ready.jobs) == ("local", ((job["id"], 1),))
    await world.claim(job["id"])
    assert await world.scheduler.checks.admitted_without_attempt() == 0


async def test_the_bell_is_rung_again_for_a_stop_that_was_not_heard(world: World) -> None:
    run_id = await started(world)
    attempt_id = await world.claim((await world.jobs())["build"]["id"])
    await world.apply(await world.command("cancel", run_id))
    await world.forget_messages()
    await world.sql.execute("UPDATE jobs SET cancel_requested_at = now() - interval '10 seconds'")
    assert await world.scheduler.checks.stops_not_heard() == 1
    assert len(await world.sent("attempt.cancel_requested")) == 1
    await world.sql.execute("UPDATE attempts SET cancel_requested_at = now() WHERE id = $1", attempt_id)
    assert await world.scheduler.checks.stops_not_heard() == 0


async def overdue(world: World) -> int:
    """Create an overdue run of three jobs in a chain, whose first job runs. Return the id of its attempt.

    The run should have ended a minute ago.
    """
    await started(world, CHAIN)
    attempt_id = await world.claim((await world.jobs())["first"]["id"])
    await world.tell_claimed(attempt_id)
    await world.sql.execute(
        "UPDATE pipeline_runs SET started_at = now() - make_interval(secs => timeout_seconds + 60)"
    )
    return attempt_id


async def judge(world: World, **settings: Any) -> int:
    """Check for overdue runs with a new scheduler that has seen the database answer."""
    checks = {check.name: check.check for check in world.another_scheduler(**settings).checks.checks()}
    await checks["jobs_not_admitted"]()
    return await checks["runs_past_deadline"]()


async def test_an_overdue_run_asks_its_attempts_to_stop_and_gives_no_verdict_on_them(world: World) -> None:
    attempt_id = await overdue(world)
    assert await judge(world) == 1
    jobs = await world.jobs()
    assert {name: (job["status"], job["reason"]) for name, job in jobs.items()} == {
        "first": ("running", None),
        "second": ("failed", "timed_out"),
        "third": ("failed", "timed_out"),
    }
    assert jobs["first"]["cancel_reason"] == "timed_out"
    assert await judge(world) == 0
    await world.finish(attempt_id, "cancelled", "cancelled_by_user")
    await world.tell_finished(attempt_id)
    run = await world.only_run()
    assert (run["status"], run["reason"]) == ("failed", "timed_out")


async def test_an_attempt_of_an_overdue_run_that_ended_by_itself_keeps_its_verdict(world: World) -> None:
    attempt_id = await overdue(world)
    await judge(world)
    await world.finish(attempt_id, "success")
    await world.tell_finished(attempt_id)
    assert (await world.jobs())["first"]["status"] == "success"


async def test_no_deadline_is_judged_soon_after_the_database_came_back(world: World) -> None:
    await overdue(world)
    assert await judge(world, deadline_grace_seconds=30) == 0
    assert (await world.jobs())["first"]["cancel_reason"] is None


async def test_steadiness_ends_when_the_database_does_not_answer() -> None:
    steadiness = Steadiness(grace_seconds=0)
    assert not steadiness.lasts
    steadiness.note(answered=True)
    assert steadiness.lasts
    steadiness.note(answered=False)
    assert not steadiness.lasts


async def test_a_rejected_message_leaves_nothing_for_the_looks(world: World) -> None:
    with pytest.raises(Rejected):
        await world.deliver(b"not json", age_seconds=10)
    assert await world.scheduler.checks.undecided_deliveries() == 0
