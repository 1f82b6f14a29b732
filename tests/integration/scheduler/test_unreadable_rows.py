"""A row that this release cannot read, or that makes its code fail, delays no other row."""

import pytest

from shared.errors import Rejected
from tests.harness.github import push
from tests.integration.scheduler.world import ONE_JOB, World


async def two_runs(world: World) -> tuple[int, int]:
    """Create two admitted runs of one pipeline. Return the ids of their jobs."""
    await world.repository()
    await world.pipeline(ONE_JOB)
    for _ in range(2):
        await world.deliver(push(world.octo_web))
    await world.admission.admit()
    first, second = await world.rows("SELECT id FROM jobs ORDER BY id")
    return first["id"], second["id"]


async def statuses(world: World) -> list[str]:
    return [row["status"] for row in await world.rows("SELECT status FROM pipeline_runs ORDER BY id")]


async def finish_with_a_reason_of_a_later_release(world: World, attempt_id: int) -> None:
    await world.sql.execute("ALTER TYPE reason ADD VALUE IF NOT EXISTS 'meteor'")
    await world.finish(attempt_id, "error", "meteor")


async def both_finish(world: World) -> tuple[int, int]:
    """Finish the attempts of two runs without a message. Return the ids of the attempts.

    The first attempt cannot be read, the second can.
    """
    first, second = await two_runs(world)
    bad, good = await world.claim(first), await world.claim(second)
    await finish_with_a_reason_of_a_later_release(world, bad)
    await world.finish(good)
    return bad, good


async def test_a_message_about_several_attempts_is_heard_but_for_the_one_that_cannot_be_read(
    world: World,
) -> None:
    bad, good = await both_finish(world)
    with pytest.raises(Rejected, match="run_not_folded"):
        await world.tell_finished(bad, good)
    assert await statuses(world) == ["pending", "success"]


async def test_a_look_at_attempts_goes_on_past_one_that_cannot_be_read(world: World) -> None:
    await both_finish(world)
    assert await world.scheduler.checks.attempts_not_folded() == 1
    assert await statuses(world) == ["pending", "success"]


async def test_a_look_at_overdue_runs_goes_on_past_one_that_cannot_be_read(world: World) -> None:
    first, second = await two_runs(world)
    bad, good = await world.claim(first), await world.claim(second)
    await world.tell_claimed(bad, good)
    await finish_with_a_reason_of_a_later_release(world, bad)
    await world.sql.execute("UPDATE pipeline_runs SET started_at = now() - interval '1 day'")
    checks = world.scheduler.checks
    for check in checks.checks():
        await check.check()
    await checks.runs_past_deadline()
    assert [
        row["cancel_reason"] for row in await world.rows("SELECT cancel_reason FROM jobs ORDER BY id")
    ] == [None, "timed_out"]


async def test_a_command_for_a_run_that_cannot_be_read_is_refused_and_others_are_applied(
    world: World,
) -> None:
    await both_finish(world)
    first, second = (row["id"] for row in await world.rows("SELECT id FROM pipeline_runs ORDER BY id"))
    bad, good = await world.command("cancel", first), await world.command("cancel", second)
    await world.apply(bad, good)
    assert await world.effect(bad) == ("refused", "command_failed")
    assert await world.effect(good) == ("applied", "cancelling")
    assert await statuses(world) == ["pending", "success"]
    assert {
        command_id for message in await world.sent("command.applied") for command_id in message.command_ids
    } == {bad, good}


async def test_a_retry_of_what_failed_runs_a_job_again_whose_revision_cannot_be_read(world: World) -> None:
    first, second = await two_runs(world)
    await world.run_job(second)
    await world.run_job(first, "failed", "script_failed")
    await world.sql.execute("UPDATE jobs SET status = 'success' WHERE id = $1", first)
    await world.sql.execute(
        """INSERT INTO pipeline_revisions (pipeline_config_id, number, yaml_config, model, created_by)
           SELECT pipeline_config_id, number + 1, yaml_config, '{}', created_by FROM pipeline_revisions"""
    )
    await world.sql.execute(
        """UPDATE pipeline_runs r SET revision_id = v.id FROM pipeline_revisions v
            WHERE v.pipeline_config_id = r.pipeline_config_id AND v.model = '{}'
              AND r.id = (SELECT run_id FROM jobs WHERE id = $1)""",
        first,
    )
    run_id = await world.value("SELECT run_id FROM jobs WHERE id = $1", first)
    command = await world.command("retry", run_id, only="failed", latest=True)
    await world.apply(command)
    assert await world.effect(command) == ("applied", "run_created")
    assert (
        await world.value(
            "SELECT j.status FROM jobs j JOIN pipeline_runs r ON r.id = j.run_id WHERE r.retry_of = $1",
            run_id,
        )
        == "pending"
    )


async def test_a_word_about_trying_again_that_cannot_be_read_means_never(world: World) -> None:
    first, _ = await two_runs(world)
    await world.sql.execute(
        """UPDATE jobs SET definition = jsonb_set(definition, '{retry}', '{"infra": "often"}')
            WHERE id = $1""",
        first,
    )
    await world.run_job(first, "error", "evicted")
    assert (await statuses(world))[0] == "error"


async def test_deliveries_that_the_database_refuses_stay_undecided_and_hold_up_no_other(world: World) -> None:
    await world.repository()
    bad, good = (
        await world.delivery(push(world.octo_web), age_seconds=10),
        await world.delivery(push(world.octo_web), age_seconds=10),
    )
    await world.sql.execute(
        f"CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.delivery_id = {bad} "
        "THEN RAISE 'no'; END IF; RETURN NEW; END $$"
    )
    await world.sql.execute(
        "CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    await world.scheduler.checks.undecided_deliveries()
    assert await world.outcome(good) == "event"
    assert await world.value("SELECT count(*) FROM delivery_outcomes WHERE delivery_id = $1", bad) == 0
    await world.sql.execute("DROP TRIGGER refuse ON events")
    await world.scheduler.checks.undecided_deliveries()
    assert await world.outcome(bad) == "event"
