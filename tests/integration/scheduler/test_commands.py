"""Cancel and retry commands are applied once, and their effect is stored."""

import pytest

from services.gateway.api.commands import COMMAND_REFUSALS as REFUSALS
from tests.harness.github import push
from tests.integration.scheduler.world import CHAIN, ONE_JOB, TWO_JOBS, World


async def run_of(world: World, yaml: str = ONE_JOB) -> int:
    """Create a run of which no job is admitted. Return its id."""
    await world.repository()
    await world.pipeline(yaml)
    await world.deliver(push(world.octo_web))
    return int((await world.only_run())["id"])


async def failed_run(world: World, yaml: str = ONE_JOB, *, last: str = "build") -> int:
    """Create a run in which the job `last` failed and the jobs before it succeeded. Return its id."""
    run_id = await run_of(world, yaml)
    await world.admission.admit()
    for name, job in (await world.jobs(run_id)).items():
        if job["admitted_at"] is None:
            await world.admission.admit()
        await world.run_job(job["id"], *(("failed", "script_failed") if name == last else ("success",)))
        if name == last:
            break
    return run_id


async def again(world: World) -> int:
    return int(await world.value("SELECT max(id) FROM pipeline_runs"))


async def test_a_run_that_has_not_started_is_cancelled_at_once(world: World) -> None:
    run_id = await run_of(world, CHAIN)
    command_id = await world.command("cancel", run_id)
    await world.apply(command_id)
    assert await world.effect(command_id) == ("applied", "cancelling")
    assert set((await world.statuses()).values()) == {"cancelled"}
    run = await world.only_run()
    assert (run["status"], run["reason"]) == ("cancelled", "cancelled_by_user")
    assert [message.command_ids for message in await world.sent("command.applied")] == [(command_id,)]
    assert await world.admission.admit() == 0


async def test_an_admitted_attempt_is_asked_to_stop_and_decides_the_status(world: World) -> None:
    run_id = await run_of(world, TWO_JOBS)
    await world.admission.admit()
    jobs = await world.jobs()
    attempt_id = await world.claim(jobs["left"]["id"])
    await world.tell_claimed(attempt_id)
    await world.apply(await world.command("cancel", run_id))
    assert await world.statuses() == {"left": "running", "right": "pending"}
    (asked,) = await world.sent("attempt.cancel_requested")
    assert set(asked.jobs) == {(jobs["left"]["id"], 1), (jobs["right"]["id"], 1)}
    await world.finish(attempt_id, "success")
    await world.tell_finished(attempt_id)
    await world.run_job(jobs["right"]["id"], "cancelled", "cancelled_by_user")
    assert await world.statuses() == {"left": "success", "right": "cancelled"}
    assert (await world.only_run())["reason"] == "cancelled_by_user"


async def test_an_end_recorded_before_the_cancel_counts(world: World) -> None:
    run_id = await run_of(world)
    await world.admission.admit()
    await world.finish(await world.claim((await world.jobs())["build"]["id"]), "success")
    command_id = await world.command("cancel", run_id)
    await world.apply(command_id)
    assert await world.statuses() == {"build": "success"}
    assert (await world.only_run())["status"] == "success"


async def test_a_cancelled_attempt_holds_its_slot_until_it_is_over(world: World) -> None:
    run_id = await run_of(world)
    await world.admission.admit()
    await world.apply(await world.command("cancel", run_id))
    assert (await world.jobs())["build"]["slot_freed_at"] is None
    await world.run_job((await world.jobs())["build"]["id"], "cancelled", "cancelled_by_user")
    assert (await world.jobs())["build"]["slot_freed_at"] is not None


async def test_cancelling_twice_asks_once(world: World) -> None:
    run_id = await run_of(world)
    await world.admission.admit()
    first, second = await world.command("cancel", run_id), await world.command("cancel", run_id)
    await world.apply(first, second)
    await world.apply(first, second)
    assert (await world.effect(first), await world.effect(second)) == (
        ("applied", "cancelling"),
        ("applied", "cancelling"),
    )
    assert len(await world.sent("attempt.cancel_requested")) == 1


async def test_what_cannot_be_cancelled(world: World) -> None:
    run_id = await failed_run(world)
    ended, unknown = await world.command("cancel", run_id), await world.command("cancel", run_id + 1000)
    await world.apply(ended, unknown)
    assert await world.effect(ended) == ("refused", "already_finished")
    assert await world.effect(unknown) == ("refused", "run_unknown")


async def test_a_retry_makes_the_next_run(world: World) -> None:
    run_id = await failed_run(world)
    command_id = await world.command("retry", run_id)
    await world.apply(command_id)
    assert await world.effect(command_id) == ("applied", "run_created")
    first, second = await world.rows("SELECT * FROM pipeline_runs ORDER BY id")
    assert (second["rerun"], second["number"], second["retry_of"], second["status"]) == (
        1,
        2,
        run_id,
        "pending",
    )
    assert (second["event_id"], second["revision_id"], second["sha"]) == (
        first["event_id"],
        first["revision_id"],
        first["sha"],
    )
    assert second["triggered_by"] == f"retry:user:{world.user_id}"
    assert await world.value("SELECT run_id FROM command_effects") == second["id"]
    assert await world.admission.admit() == 1


async def test_two_retries_at_once_make_one_run(world: World) -> None:
    run_id = await failed_run(world)
    first, second = await world.command("retry", run_id), await world.command("retry", run_id)
    await world.apply(first, second)
    assert (await world.effect(first), await world.effect(second)) == (
        ("applied", "run_created"),
        ("applied", "run_exists"),
    )
    assert len({row["run_id"] for row in await world.rows("SELECT run_id FROM command_effects")}) == 1
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 2


async def test_a_retry_of_the_failed_jobs_carries_the_others_over(world: World) -> None:
    run_id = await failed_run(world, CHAIN, last="second")
    await world.apply(await world.command("retry", run_id, only="failed"))
    before, after = await world.jobs(run_id), await world.jobs(await again(world))
    assert {name: job["status"] for name, job in after.items()} == {
        "first": "success",
        "second": "pending",
        "third": "pending",
    }
    assert after["first"]["carried_from"] == before["first"]["id"]
    assert (after["first"]["ready_at"], after["second"]["waiting_for"], after["third"]["waiting_for"]) == (
        None,
        "slot",
        "dependency",
    )
    await world.admission.admit()
    await world.run_job(after["second"]["id"])
    await world.admission.admit()
    await world.run_job(after["third"]["id"])
    assert await world.value("SELECT status FROM pipeline_runs WHERE rerun = 1") == "success"


async def test_a_retry_takes_the_latest_revision_where_asked(world: World) -> None:
    run_id = await failed_run(world)
    pipeline_id = (await world.only_run())["pipeline_config_id"]
    revision_id = await world.save(pipeline_id, ONE_JOB.replace("build", "check"))
    await world.apply(await world.command("retry", run_id, latest=True))
    assert await world.value("SELECT revision_id FROM pipeline_runs WHERE rerun = 1") == revision_id
    assert list(await world.jobs(await again(world))) == ["check"]


async def test_what_cannot_be_retried(world: World) -> None:
    run_id = await run_of(world)
    running, unknown = await world.command("retry", run_id), await world.command("retry", run_id + 1000)
    await world.apply(running, unknown)
    assert (await world.effect(running), await world.effect(unknown)) == (
        ("refused", "not_retryable"),
        ("refused", "run_unknown"),
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM grants", "owner_not_maintainer"),
        ("UPDATE users SET disabled_at = now()", "owner_not_maintainer"),
        ("UPDATE repositories SET deleted_at = now()", "repository_deleted"),
        ("UPDATE pipeline_configs SET deleted_at = now()", "pipeline_deleted"),
        ("UPDATE pipeline_revisions SET model = '{}'", "revision_unreadable"),
    ],
)
async def test_x13_a_refused_retry_says_its_true_reason(world: World, change: str, reason: str) -> None:
    run_id = await failed_run(world)
    world.scheduler = world.another_scheduler()  # it has read no revision yet
    await world.sql.execute(change)
    command_id = await world.command("retry", run_id)
    await world.apply(command_id)
    assert await world.effect(command_id) == ("refused", reason)
    assert reason in REFUSALS
