"""Runs of pull requests from forks, which wait until a maintainer approves them."""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from services.gateway.api.commands import COMMAND_REFUSALS
from tests.harness.github import new_sha, pull_request, push
from tests.integration.scheduler.world import ONE_JOB, World

NOON, LATER = "2026-11-20T12:00:00Z", "2026-11-20T12:00:05Z"
GROUP = "concurrency: { group: all, on_new: cancel_older }\n"
RUN = ONE_JOB.replace("pull_request: {}", "pull_request: { forks: run }")
IGNORE = ONE_JOB.replace("pull_request: {}", "pull_request: { forks: ignore }")
TWO = """
version: 1
repository: octo/web
on: { pull_request: {} }
jobs:
  build: { steps: [{ run: make }] }
  test: { needs: [build], steps: [{ run: make }] }
"""


async def prepared(world: World, yaml: str = ONE_JOB, **settings: Any) -> World:
    world.scheduler = world.another_scheduler(**({"backend": "kubernetes"} | settings))
    await world.repository()
    await world.pipeline(yaml)
    return world


async def fork(world: World, at: str = NOON, **fields: Any) -> int | None:
    """Deliver an event of a pull request from a fork. Return the id of its run, if it has one."""
    payload = pull_request(world.octo_web, fork=True, updated_at=at, **fields)
    delivery_id = await world.deliver(payload, "pull_request")
    run_id: int | None = await world.value(
        "SELECT r.id FROM pipeline_runs r JOIN events e ON e.id = r.event_id WHERE e.delivery_id = $1",
        delivery_id,
    )
    return run_id


async def waiting(world: World, yaml: str = ONE_JOB, **settings: Any) -> int:
    await prepared(world, yaml, **settings)
    run_id = await fork(world)
    assert run_id is not None
    return run_id


async def command(world: World, kind: str, run_id: int) -> tuple[str, str]:
    command_id = await world.command(kind, run_id)
    await world.apply(command_id)
    return await world.effect(command_id)


async def run_of(world: World, run_id: int) -> Any:
    (run,) = await world.rows("SELECT * FROM pipeline_runs WHERE id = $1", run_id)
    return run


async def verdict(world: World, run_id: int) -> tuple[str, str | None]:
    run = await run_of(world, run_id)
    return run["status"], run["reason"]


async def judge(world: World, name: str) -> int:
    """Run a check of a scheduler that has seen the database answer for long enough."""
    checks = {check.name: check.check for check in world.scheduler.checks.checks()}
    await checks["commands_without_effect"]()
    return await checks[name]()


async def expire(world: World) -> None:
    """Let the time of all approvals pass."""
    await world.sql.execute("UPDATE pipeline_runs SET approval_expires_at = now() - interval '1 second'")


async def decisions(world: World) -> list[tuple[str, list[str]]]:
    return [
        (row["outcome"], [reason["code"] for reason in row["reasons"]])
        for row in await world.rows("SELECT outcome, reasons FROM decisions ORDER BY id")
    ]


async def test_a_run_of_a_fork_waits_for_its_approval_and_then_runs(world: World) -> None:
    run_id = await waiting(world, TWO)
    assert await decisions(world) == [("run", ["matched", "fork_approval"])]
    jobs = await world.jobs(run_id)
    assert {name: job["waiting_for"] for name, job in jobs.items()} == {
        "build": "approval",
        "test": "dependency",
    }
    assert await world.admission.admit() == 0
    assert await command(world, "approve", run_id) == ("applied", "approved")
    run = await run_of(world, run_id)
    assert (run["approved_by"], run["approved_at"] is not None) == (world.user_id, True)
    assert await world.admission.admit() == 1
    await world.run_job(jobs["build"]["id"])
    assert await world.admission.admit() == 1
    await world.run_job(jobs["test"]["id"])
    assert await verdict(world, run_id) == ("success", None)


async def test_an_approval_is_repeatable_and_only_for_runs_that_need_one(world: World) -> None:
    run_id = await waiting(world)
    assert await command(world, "approve", run_id) == ("applied", "approved")
    assert await command(world, "approve", run_id) == ("applied", "already_approved")
    await world.deliver(push(world.octo_web))
    trusted = await world.value("SELECT max(id) FROM pipeline_runs")
    assert await command(world, "approve", trusted) == ("refused", "approval_not_needed")


async def test_forks_run_at_once_or_are_ignored_as_the_pipeline_says(world: World) -> None:
    await prepared(world, RUN)
    await world.pipeline(IGNORE)
    run_id = await fork(world)
    assert sorted(await decisions(world)) == [
        ("run", ["matched", "fork_run"]),
        ("untrusted", ["forks_ignored"]),
    ]
    assert run_id is not None
    assert (await run_of(world, run_id))["fork_policy"] == "run"
    assert await world.admission.admit() == 1


@pytest.mark.parametrize("yaml", [ONE_JOB, RUN])
async def test_the_local_cluster_refuses_forks_with_a_decision(world: World, yaml: str) -> None:
    await prepared(world, yaml, backend="local")
    assert await fork(world) is None
    assert await decisions(world) == [("untrusted", ["local_cluster"])]


async def test_a_waiting_run_has_no_place_in_a_group_and_stops_nobody(world: World) -> None:
    run_id = await waiting(world, GROUP + ONE_JOB)
    assert (await run_of(world, run_id))["concurrency_group"] is None
    other = await fork(world, number=2)
    assert other is not None
    assert await command(world, "approve", other) == ("applied", "approved")
    assert await world.admission.admit() == 1
    assert (await run_of(world, other))["concurrency_group"] == "untrusted: all"
    assert (await world.jobs(run_id))["build"]["waiting_for"] == "approval"
    assert (await verdict(world, run_id), await verdict(world, other)) == (
        ("pending", None),
        ("pending", None),
    )


async def test_a_fork_never_stops_a_trusted_run_of_the_same_group(world: World) -> None:
    await prepared(world, GROUP + RUN)
    await world.deliver(push(world.octo_web))
    trusted = int((await world.only_run())["id"])
    await world.admission.admit()
    run_id = await fork(world)
    assert run_id is not None
    assert await world.admission.admit() == 1
    assert await verdict(world, trusted) == ("pending", None)
    assert await world.value("SELECT count(*) FROM jobs WHERE cancel_reason IS NOT NULL") == 0


async def test_no_clock_runs_while_a_run_waits(world: World) -> None:
    run_id = await waiting(world, ONE_JOB + "timeout: 1s\n")
    await world.sql.execute("UPDATE pipeline_runs SET created_at = now() - interval '1 day'")
    assert await judge(world, "runs_past_deadline") == 0
    await judge(world, "jobs_not_admitted")
    assert await verdict(world, run_id) == ("pending", None)
    assert (await world.jobs(run_id))["build"]["ready_at"] is None


# ---------------------------------------------------------------- what ends the wait


async def newer_push(world: World, run_id: int) -> None:
    assert await fork(world, LATER, action="synchronize") is not None


async def cancel(world: World, run_id: int) -> None:
    await command(world, "cancel", run_id)


async def expiry(world: World, run_id: int) -> None:
    await world.sql.execute(
        "UPDATE pipeline_runs SET approval_expires_at = now() - interval '1 second' WHERE id = $1", run_id
    )
    await judge(world, "expired_approvals")


ENDS: dict[Callable[[World, int], Awaitable[None]], tuple[str, str]] = {
    newer_push: ("superseded", "approval_void"),
    cancel: ("cancelled_by_user", "approval_cancelled"),
    expiry: ("rejected", "approval_expired"),
}


@pytest.mark.parametrize(
    "order", list(itertools.permutations(ENDS)), ids=lambda order: " ".join(end.__name__ for end in order)
)
async def test_the_first_end_counts_and_a_later_approval_says_which(world: World, order: Any) -> None:
    run_id = await waiting(world)
    for end in order:
        await end(world, run_id)
    reason, refusal = ENDS[order[0]]
    assert await verdict(world, run_id) == ("cancelled", reason)
    assert await command(world, "approve", run_id) == ("refused", refusal)
    assert refusal in COMMAND_REFUSALS
    assert (await world.jobs(run_id))["build"]["message"]


@pytest.mark.parametrize(
    ("end", "reason"), [(newer_push, "superseded"), (cancel, "cancelled_by_user"), (expiry, None)]
)
async def test_after_an_approval_an_expiry_changes_nothing_and_others_end_the_run(
    world: World, end: Callable[[World, int], Awaitable[None]], reason: str | None
) -> None:
    run_id = await waiting(world)
    assert await command(world, "approve", run_id) == ("applied", "approved")
    await end(world, run_id)
    assert await verdict(world, run_id) == ("pending" if reason is None else "cancelled", reason)


async def test_f51_an_approved_run_that_has_not_started_ends_with_a_newer_push(world: World) -> None:
    run_id = await waiting(world)
    assert await command(world, "approve", run_id) == ("applied", "approved")
    await world.admission.admit()
    newer = await fork(world, LATER, action="synchronize")
    assert newer is not None
    job = (await world.jobs(run_id))["build"]
    assert job["cancel_reason"] == "superseded"
    assert (await world.jobs(newer))["build"]["waiting_for"] == "approval"
    assert (await run_of(world, newer))["approved_at"] is None


async def test_an_approved_run_that_has_started_goes_on(world: World) -> None:
    run_id = await waiting(world)
    await command(world, "approve", run_id)
    await world.admission.admit()
    await world.tell_claimed(await world.claim((await world.jobs(run_id))["build"]["id"]))
    await fork(world, LATER, action="synchronize")
    assert await verdict(world, run_id) == ("running", None)
    assert (await world.jobs(run_id))["build"]["cancel_reason"] is None


async def test_f46_the_newest_push_can_be_approved_even_if_it_arrives_first(world: World) -> None:
    await prepared(world)
    newest = await fork(world, LATER, action="synchronize")
    assert newest is not None
    assert await fork(world, NOON) is None
    assert await decisions(world) == [("run", ["matched", "fork_approval"]), ("superseded", ["newer_push"])]
    assert await verdict(world, newest) == ("pending", None)


async def test_f46_pushes_within_one_second_are_ordered_by_their_commits(world: World) -> None:
    await prepared(world)
    first, second = new_sha(), new_sha()
    payload = pull_request(world.octo_web, fork=True, updated_at=NOON, action="synchronize", sha=second)
    await world.deliver(payload | {"before": first}, "pull_request")
    assert await fork(world, NOON, sha=first) is None
    assert (await world.only_run())["sha"] == second


async def test_f46_a_batch_of_pushes_leaves_one_run_that_can_be_approved(world: World) -> None:
    await prepared(world)
    stored = [
        await world.delivery(
            pull_request(world.octo_web, fork=True, updated_at=at, action="synchronize"), "pull_request"
        )
        for at in (LATER, NOON)
    ]
    await world.decide(*stored)
    assert (await world.only_run())["status"] == "pending"
    assert [outcome for outcome, _ in await decisions(world)] == ["run", "superseded"]


async def test_f46_a_closing_that_arrives_before_the_opening_leaves_no_run_to_approve(world: World) -> None:
    await prepared(world)
    await fork(world, LATER, action="closed")
    assert await fork(world, NOON) is None
    assert await decisions(world) == [("not_matched", ["type"]), ("superseded", ["closed"])]


async def test_a_closed_pull_request_ends_the_wait(world: World) -> None:
    run_id = await waiting(world)
    await fork(world, LATER, action="closed")
    assert await verdict(world, run_id) == ("cancelled", "superseded")


async def test_an_approval_after_its_time_is_refused_before_the_check_finds_it(world: World) -> None:
    run_id = await waiting(world)
    await expire(world)
    assert await command(world, "approve", run_id) == ("refused", "approval_expired")
    assert await verdict(world, run_id) == ("cancelled", "rejected")


async def test_the_time_of_an_approval_is_a_setting(world: World) -> None:
    run_id = await waiting(world, approval_seconds=60)
    seconds = await world.value(
        "SELECT extract(epoch FROM approval_expires_at - created_at)::integer FROM pipeline_runs"
        " WHERE id = $1",
        run_id,
    )
    assert seconds == 60


@pytest.mark.parametrize("seed", range(8))
async def test_an_approval_racing_with_its_ends_agrees_with_the_run(world: World, seed: int) -> None:
    """Four schedulers act at once, in an order that the seed and Postgres' locks decide."""
    run_id = await waiting(world, GROUP + ONE_JOB)
    chance = random.Random(seed)  # noqa: S311 - to be repeated
    approval, stop = await world.command("approve", run_id), await world.command("cancel", run_id)
    pushed = await world.delivery(
        pull_request(world.octo_web, fork=True, updated_at=LATER, action="synchronize"), "pull_request"
    )
    if seed % 2:
        await expire(world)
    others = [world.another_scheduler(backend="kubernetes") for _ in range(4)]
    actions = [
        others[0].consumers.apply([approval]),
        *chance.sample(
            [
                others[1].consumers.decide([pushed]),
                others[2].consumers.apply([stop]),
                others[3].admission.admit(),
            ],
            k=3,
        ),
    ]
    chance.shuffle(actions)
    await asyncio.gather(*actions)
    await judge(world, "expired_approvals")
    outcome, reason = await world.effect(approval)
    status, why = await verdict(world, run_id)
    job = (await world.jobs(run_id))["build"]
    if outcome == "applied":
        assert seed % 2 == 0
        assert why in {"superseded", "cancelled_by_user"} or job["cancel_reason"] is not None
    else:
        assert (status, reason) == ("cancelled", dict(ENDS.values())[why or ""])
        assert job["admitted_at"] is None
    newer = await world.value("SELECT max(id) FROM pipeline_runs")
    if newer != run_id:
        assert (await world.jobs(newer))["build"]["ready_at"] is None


# ---------------------------------------------------------------- retries


async def test_a_retry_needs_an_approval_of_its_own(world: World) -> None:
    run_id = await waiting(world)
    await command(world, "approve", run_id)
    await world.admission.admit()
    await world.run_job((await world.jobs(run_id))["build"]["id"], "failed", "script_failed")
    assert await command(world, "retry", run_id) == ("applied", "run_created")
    again = await world.value("SELECT max(id) FROM pipeline_runs")
    assert (await world.jobs(again))["build"]["waiting_for"] == "approval"
    assert await world.admission.admit() == 0


async def test_a_run_that_was_never_approved_is_not_started_by_a_retry(world: World) -> None:
    run_id = await waiting(world)
    await cancel(world, run_id)
    assert await command(world, "retry", run_id) == ("applied", "run_created")
    assert await world.admission.admit() == 0


async def test_a_retry_after_a_newer_push_is_refused(world: World) -> None:
    run_id = await waiting(world)
    await newer_push(world, run_id)
    assert await command(world, "retry", run_id) == ("refused", "approval_void")


async def test_a_retry_on_a_cluster_that_refuses_forks_is_refused(world: World) -> None:
    run_id = await waiting(world)
    await cancel(world, run_id)
    world.scheduler = world.another_scheduler()
    assert await command(world, "retry", run_id) == ("refused", "forks_not_supported")


async def test_a_retry_under_a_revision_that_ignores_forks_is_refused(world: World) -> None:
    run_id = await waiting(world)
    await cancel(world, run_id)
    await world.save((await run_of(world, run_id))["pipeline_config_id"], IGNORE)
    command_id = await world.command("retry", run_id, latest=True)
    await world.apply(command_id)
    assert await world.effect(command_id) == ("refused", "forks_ignored")


async def test_an_approved_run_keeps_its_revision_and_its_commits(world: World) -> None:
    run_id = await waiting(world)
    before = await run_of(world, run_id)
    await world.save(before["pipeline_config_id"], TWO)
    await command(world, "approve", run_id)
    after = await run_of(world, run_id)
    assert (after["revision_id"], after["sha"]) == (before["revision_id"], before["sha"])
    assert set(await world.jobs(run_id)) == {"build"}


# ---------------------------------------------------------------- a scheduler of the release before


async def test_a_scheduler_of_the_release_before_can_not_insert_a_run_of_a_fork(world: World) -> None:
    """It knows no policy, and would start code that nobody has approved when it retries a run."""
    run_id = await waiting(world)
    await cancel(world, run_id)
    with pytest.raises(asyncpg.CheckViolationError, match="has no policy"):
        await world.sql.execute(
            "INSERT INTO pipeline_runs (pipeline_config_id, revision_id, event_id, rerun, number,"
            " triggered_by, repository_id, event_kind, timeout_seconds)"
            " SELECT pipeline_config_id, revision_id, event_id, 1, 99, triggered_by, repository_id,"
            " event_kind, timeout_seconds FROM pipeline_runs WHERE id = $1",
            run_id,
        )


async def test_what_a_scheduler_of_the_release_before_reads_of_a_waiting_run_starts_nothing(
    world: World,
) -> None:
    """Its statements give places to runs with a group that have not entered it, and slots to ready jobs."""
    run_id = await waiting(world, GROUP + ONE_JOB)
    assert await world.value("SELECT concurrency_group FROM pipeline_runs WHERE id = $1", run_id) is None
    assert await world.value("SELECT count(*) FROM jobs WHERE ready_at IS NOT NULL") == 0
