"""The rows that executors write about attempts determine the statuses of jobs and runs.

The order in which the scheduler receives the messages does not matter.
"""

import pytest

from tests.harness.github import push
from tests.integration.scheduler.world import CHAIN, TWO_JOBS, World


async def started(world: World, yaml: str) -> int:
    """Create a run and admit its ready jobs. Return the run's id."""
    await world.repository()
    await world.pipeline(yaml)
    await world.deliver(push(world.octo_web))
    await world.admission.admit()
    return int((await world.only_run())["id"])


async def test_a_chain_runs_job_after_job(world: World) -> None:
    run_id = await started(world, CHAIN)
    for name in ("first", "second", "third"):
        job = (await world.jobs())[name]
        assert (job["admitted_at"] is not None, job["wanted_attempt"], job["waiting_for"]) == (True, 1, None)
        await world.run_job(job["id"])
        await world.admission.admit()
    run = await world.only_run()
    assert (run["status"], run["reason"]) == ("success", None)
    assert run["started_at"] <= run["finished_at"]
    history = await world.rows(
        "SELECT from_status, to_status FROM transitions WHERE run_id = $1 AND job_id IS NULL ORDER BY id",
        run_id,
    )
    assert [tuple(row) for row in history] == [
        (None, "pending"),
        ("pending", "running"),
        ("running", "success"),
    ]
    assert [message.run_ids for message in await world.sent("run.started")] == [(run_id,)]
    assert [message.run_ids for message in await world.sent("run.finished")] == [(run_id,)]


async def test_waiting_jobs_say_what_they_wait_for(world: World) -> None:
    await world.repository()
    await world.pipeline(CHAIN)
    await world.deliver(push(world.octo_web))
    assert {name: job["waiting_for"] for name, job in (await world.jobs()).items()} == {
        "first": "slot",
        "second": "dependency",
        "third": "dependency",
    }


async def test_a_claim_starts_the_run_and_an_end_frees_the_slot(world: World) -> None:
    await started(world, TWO_JOBS)
    left = (await world.jobs())["left"]
    attempt_id = await world.claim(left["id"])
    await world.tell_claimed(attempt_id)
    assert await world.statuses() == {"left": "running", "right": "pending"}
    assert (await world.only_run())["status"] == "running"
    await world.finish(attempt_id)
    await world.tell_finished(attempt_id)
    left = (await world.jobs())["left"]
    assert left["status"] == "success"
    assert (
        left["slot_freed_at"]
        == left["finished_at"]
        == await world.value("SELECT finished_at FROM attempts WHERE id = $1", attempt_id)
    )


async def test_what_needs_a_failed_job_is_skipped_down_the_chain(world: World) -> None:
    await started(world, CHAIN)
    attempt_id = await world.run_job((await world.jobs())["first"]["id"], "failed", "script_failed")
    jobs = await world.jobs()
    assert {name: (job["status"], job["reason"]) for name, job in jobs.items()} == {
        "first": ("failed", "script_failed"),
        "second": ("skipped", "dependency_failed"),
        "third": ("skipped", "dependency_failed"),
    }
    assert jobs["third"]["message"] == "It needs `second`, which was skipped."
    run = await world.only_run()
    assert (run["status"], run["reason"]) == ("failed", "script_failed")
    causes = await world.rows(
        "SELECT DISTINCT cause FROM transitions WHERE to_status IN ('failed', 'skipped')"
    )
    assert [row["cause"] for row in causes] == [f"attempt:{attempt_id}"]


async def test_facts_heard_twice_late_and_in_the_wrong_order_change_nothing(world: World) -> None:
    await started(world, CHAIN)
    first = (await world.jobs())["first"]
    attempt_id = await world.claim(first["id"])
    await world.finish(attempt_id)
    await world.tell_finished(attempt_id)
    once = (
        await world.rows("SELECT * FROM jobs ORDER BY id"),
        await world.rows("SELECT * FROM pipeline_runs"),
        await world.rows("SELECT * FROM transitions"),
    )
    await world.tell_claimed(attempt_id)
    await world.tell_finished(attempt_id, attempt_id)
    again = (
        await world.rows("SELECT * FROM jobs ORDER BY id"),
        await world.rows("SELECT * FROM pipeline_runs"),
        await world.rows("SELECT * FROM transitions"),
    )
    assert once == again


async def test_a_late_word_about_an_ended_job_leaves_its_verdict_alone(world: World) -> None:
    await started(world, CHAIN)
    attempt_id = await world.run_job((await world.jobs())["first"]["id"], "failed", "script_failed")
    await world.finish(attempt_id, "success")
    await world.tell_finished(attempt_id)
    assert (await world.jobs())["first"]["status"] == "failed"
    assert (await world.only_run())["status"] == "failed"


async def test_an_attempt_that_the_job_does_not_want_is_not_heard(world: World) -> None:
    await started(world, TWO_JOBS)
    left = (await world.jobs())["left"]
    attempt_id = await world.claim(left["id"])
    await world.sql.execute("UPDATE attempts SET number = 2 WHERE id = $1", attempt_id)
    await world.finish(attempt_id)
    await world.tell_finished(attempt_id)
    assert (await world.jobs())["left"]["status"] == "pending"


@pytest.mark.parametrize(
    ("left", "right", "run"),
    [
        (("failed", "script_failed"), ("error", "node_lost"), ("error", "node_lost")),
        (("failed", "oom_killed"), ("failed", "timed_out"), ("failed", "oom_killed")),
        (("success", None), ("cancelled", "cancelled_by_user"), ("cancelled", "cancelled_by_user")),
        (("success", None), ("success", None), ("success", None)),
    ],
)
async def test_a_run_ends_like_its_worst_job(
    world: World, left: tuple[str, str], right: tuple[str, str], run: tuple[str, str]
) -> None:
    await started(world, TWO_JOBS)
    jobs = await world.jobs()
    await world.run_job(jobs["left"]["id"], *left)
    await world.run_job(jobs["right"]["id"], *right)
    ended = await world.only_run()
    assert (ended["status"], ended["reason"]) == run
