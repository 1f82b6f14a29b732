"""Runs that users start: the ref is resolved first, then the event is decided once."""

import asyncio
from typing import Any

import orjson
import pytest

from shared.messaging.messages import RefResolved
from tests.integration.scheduler.world import World

SHA = "a" * 40
MANUAL = """
version: 1
repository: octo/web
on: { manual: { inputs: { level: { type: choice, options: [quick, full], default: quick } } } }
concurrency: { group: "${{ inputs.level }}" }
jobs:
  build: { env: { LEVEL: "${{ inputs.level }}", AT: "${{ event.sha }}" }, steps: [{ run: make }] }
"""


async def start(world: World, yaml: str = MANUAL, **changed: Any) -> int:
    """Store a user's command to start a run as the gateway does. Return its id."""
    world.repository_id = await world.repository()
    world.pipeline_id = await world.pipeline(yaml)
    wanted = {"repository": None, "branch": "main", "tag": None, "sha": None, "inputs": {}} | changed
    return int(
        await world.value(
            "INSERT INTO commands (kind, pipeline_config_id, repository_id, arguments, requested_by)"
            " VALUES ('start', $1, $2, $3::text::jsonb, $4) RETURNING id",
            world.pipeline_id,
            world.repository_id,
            orjson.dumps(wanted).decode(),
            world.user_id,
        )
    )


async def answered(world: World, outcome: str = "resolved", sha: str | None = SHA) -> int:
    """Answer the only open request as an executor does. Send no message. Return the event's id."""
    return int(
        await world.value(
            "INSERT INTO ref_resolutions (event_id, outcome, sha, message)"
            " SELECT event_id, $1, $2, 'The server said so.' FROM ref_requests RETURNING event_id",
            outcome,
            sha if outcome == "resolved" else None,
        )
    )


async def resolve(world: World, *event_ids: int) -> None:
    await world.consumers.on_commands([RefResolved(event_ids=event_ids)])


async def test_a_run_is_started_when_its_ref_was_resolved(world: World) -> None:
    command_id = await start(world, inputs={"level": "full"})
    await world.apply(command_id)
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 0
    assert await world.value("SELECT count(*) FROM command_effects") == 0
    (wanted,) = await world.sent("ref.wanted")
    event_id = await answered(world)
    assert (wanted.cluster, wanted.event_ids) == ("local", (event_id,))
    await resolve(world, event_id)
    run = await world.only_run()
    assert (run["sha"], run["branch"], run["event_kind"]) == (SHA, "main", "manual")
    assert run["triggered_by"] == f"user:{world.user_id}"
    assert run["concurrency_group"] == "full"
    definition = (await world.jobs())["build"]["definition"]
    assert definition["env"] == {"LEVEL": "full", "AT": SHA}
    assert await world.effect(command_id) == ("applied", "run_created")
    (event,) = await world.rows("SELECT * FROM events")
    assert (event["ref"], event["sha"], event["inputs"]) == ("refs/heads/main", SHA, {"level": "full"})
    (decision,) = await world.rows("SELECT * FROM decisions")
    assert (decision["outcome"], decision["run_id"]) == ("run", run["id"])


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [("ref_gone", "ref_gone"), ("sha_unreachable", "ref_gone"), ("not_resolved", "skipped")],
)
async def test_a_ref_that_is_gone_is_a_decision_without_a_run(
    world: World, answer: str, outcome: str
) -> None:
    command_id = await start(world)
    await world.apply(command_id)
    await resolve(world, await answered(world, answer))
    (decision,) = await world.rows("SELECT * FROM decisions")
    code = "ref_not_resolved" if answer == "not_resolved" else answer
    assert (decision["outcome"], decision["reasons"][0]["code"]) == (outcome, code)
    assert decision["reasons"][0]["text"] == "The server said so."
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 0
    assert await world.effect(command_id) == ("refused", code)


async def test_many_schedulers_at_once_start_one_run(world: World) -> None:
    command_id = await start(world)
    await asyncio.gather(*(world.apply(command_id) for _ in range(5)))
    assert await world.value("SELECT count(*) FROM events") == 1
    event_id = await answered(world)
    await asyncio.gather(*(resolve(world, event_id) for _ in range(5)), *(world.apply(command_id),))
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 1
    assert await world.effect(command_id) == ("applied", "run_created")


async def test_lost_messages_are_made_up_for(world: World) -> None:
    command_id = await start(world)
    assert await world.scheduler.checks.commands_without_effect() == 1
    assert await world.scheduler.checks.commands_without_effect() == 0
    await answered(world)
    assert await world.scheduler.checks.resolved_not_decided() == 1
    assert await world.scheduler.checks.resolved_not_decided() == 0
    assert await world.effect(command_id) == ("applied", "run_created")


REFUSALS = {
    "disabled": "UPDATE pipeline_configs SET enabled = false",
    "pipeline_deleted": "UPDATE pipeline_configs SET deleted_at = now()",
    "repository_deleted": "UPDATE repositories SET deleted_at = now()",
    "owner_not_maintainer": "DELETE FROM grants",
}


@pytest.mark.parametrize("reason", REFUSALS)
async def test_what_can_not_be_started_is_refused(world: World, reason: str) -> None:
    command_id = await start(world)
    await world.sql.execute(REFUSALS[reason])
    await world.apply(command_id)
    assert await world.effect(command_id) == ("refused", reason)
    assert await world.value("SELECT count(*) FROM events") == 0


@pytest.mark.parametrize("reason", REFUSALS)
async def test_what_changes_before_the_ref_is_resolved_counts(world: World, reason: str) -> None:
    command_id = await start(world)
    await world.apply(command_id)
    await world.sql.execute(REFUSALS[reason])
    await resolve(world, await answered(world))
    assert await world.effect(command_id) == ("refused", reason)
    (decision,) = await world.rows("SELECT * FROM decisions")
    outcome = "not_allowed" if reason == "owner_not_maintainer" else "skipped"
    assert (decision["outcome"], decision["reasons"][0]["code"]) == (outcome, reason)
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 0


async def test_inputs_are_checked_against_the_revision_that_is_used(world: World) -> None:
    command_id = await start(world, inputs={"level": "full"})
    await world.apply(command_id)
    await world.save(world.pipeline_id, MANUAL.replace("full", "deep"))
    await resolve(world, await answered(world))
    assert await world.effect(command_id) == ("refused", "inputs_invalid")
    another = await world.value(
        "INSERT INTO commands (kind, pipeline_config_id, repository_id, arguments, requested_by)"
        " SELECT kind, pipeline_config_id, repository_id, arguments, requested_by FROM commands RETURNING id"
    )
    await world.apply(another)
    assert await world.effect(another) == ("refused", "inputs_invalid")


async def test_a_retry_has_the_inputs_of_its_run(world: World) -> None:
    await world.apply(await start(world, inputs={"level": "full"}))
    await resolve(world, await answered(world))
    await world.admission.admit()
    await world.run_job((await world.jobs())["build"]["id"], "failed", "script_failed")
    run = await world.only_run()
    command_id = await world.command("retry", run["id"])
    await world.apply(command_id)
    assert await world.effect(command_id) == ("applied", "run_created")
    again = await world.value("SELECT max(id) FROM pipeline_runs")
    definition = (await world.jobs(again))["build"]["definition"]
    assert definition["env"] == {"LEVEL": "full", "AT": SHA}
