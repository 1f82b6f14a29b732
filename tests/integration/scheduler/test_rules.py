"""Matrices, conditions, outputs and script retries through the tables.

The rows that the release before wrote are folded, retried and finished by this one.
"""

import json
from typing import Any

import pytest

from tests.harness.github import push
from tests.integration.scheduler.world import CHAIN, World

MATRIX = """
version: 1
repository: octo/web
on: { push: {} }
jobs:
  test:
    matrix: { v: [3.10, 3.11, 3.12], max_parallel: 2 }
    image: python:${{ matrix.v }}
    retry: { script: 1, infra: 1, backoff: 1s }
    steps: [{ run: make }]
  report: { needs: [test], if: failure(), steps: [{ run: make }] }
"""
OUTPUTS = """
version: 1
repository: octo/web
on: { push: {} }
jobs:
  build:
    outputs: { digest: "${{ steps.push.outputs.digest }}" }
    steps: [{ id: push, run: make }]
  each:
    needs: [build]
    matrix: { v: [a, b] }
    outputs: { value: "${{ matrix.v }}-${{ steps.s.outputs.x }}" }
    steps: [{ id: s, run: make }]
  deploy:
    needs: [build, each]
    if: needs.build.outputs.digest == 'sha256:1'
    env: { DIGEST: "${{ needs.build.outputs.digest }}", B: "${{ needs.each.outputs.b.value }}" }
    timeout: ${{ needs.each.outputs['a'].value }}
    steps: [{ run: make, env: { ALSO: "${{ env.DIGEST }}-${{ needs.each.result }}" } }]
  never: { needs: [build], if: needs.build.outputs.digest == 'x', steps: [{ run: make }] }
"""


async def started(world: World, yaml: str) -> None:
    await world.repository()
    await world.pipeline(yaml)
    await world.deliver(push(world.octo_web))
    await world.admission.admit()


async def job(world: World, key: str) -> Any:
    (row,) = await world.rows(
        "SELECT * FROM jobs WHERE coalesce(key, name) = $1 ORDER BY id DESC LIMIT 1", key
    )
    return row


async def finish(
    world: World, key: str, outcome: str = "success", reason: str | None = None, **outputs: Any
) -> None:
    """Run an attempt of the job, with the outputs of its steps."""
    await world.sql.execute("UPDATE jobs SET retry_at = now() WHERE retry_at IS NOT NULL")
    await world.admission.admit()
    attempt_id = await world.claim((await job(world, key))["id"])
    await world.tell_claimed(attempt_id)
    if outputs:
        await world.sql.execute(
            "UPDATE attempts SET outputs = $2::text::jsonb WHERE id = $1", attempt_id, json.dumps(outputs)
        )
    await world.finish(attempt_id, outcome, reason)
    await world.tell_finished(attempt_id)


async def column(world: World, key: str, name: str) -> Any:
    """Return JSON of the job's row."""
    found = (await job(world, key))[name]
    return json.loads(found) if isinstance(found, str) else found


async def definition(world: World, key: str) -> Any:
    return await column(world, key, "definition")


async def test_a_matrix_is_limited_and_stopped_by_its_last_failed_attempt(world: World) -> None:
    await started(world, MATRIX)
    first, second, third = "test (3.10)", "test (3.11)", "test (3.12)"
    assert (await definition(world, first))["image"] == "python:3.10"
    assert [(await job(world, key))["waiting_for"] for key in (first, second, third)] == [
        None,
        None,
        "max_parallel",
    ]
    await finish(world, first, "failed", "script_failed")
    row = await job(world, first)
    assert (row["status"], row["infra_retries"], row["script_retries"]) == ("pending", 0, 1)
    assert (await job(world, second))["cancel_reason"] is None
    assert (await job(world, third))["waiting_for"] == "max_parallel"
    await finish(world, first, "error", "evicted")
    row = await job(world, first)
    assert (row["infra_retries"], row["script_retries"], row["wanted_attempt"]) == (1, 1, 3)
    await finish(world, first, "failed", "script_failed")
    assert (await job(world, first))["status"] == "failed"
    stopped = await job(world, second)
    assert (stopped["cancel_reason"], stopped["cancel_cause"]) == ("fail_fast", "fail_fast")
    assert [message.jobs for message in await world.sent("attempt.cancel_requested")] == [
        ((stopped["id"], 1),)
    ]
    row = await job(world, third)
    assert (row["status"], row["reason"], row["admitted_at"]) == ("cancelled", "fail_fast", None)
    assert (await job(world, "report"))["waiting_for"] == "dependency"
    await finish(world, second, "cancelled", "cancelled_by_user")
    assert (await job(world, second))["reason"] == "fail_fast"
    report = await job(world, "report")
    assert report["condition"] == "if: failure() → true because failure() = true"
    await finish(world, "report")
    assert (await world.only_run())["status"] == "failed"


async def test_a_place_of_a_matrix_goes_to_its_next_job(world: World) -> None:
    await started(world, MATRIX)
    await finish(world, "test (3.10)")
    assert (await job(world, "test (3.12)"))["waiting_for"] == "slot"
    assert await world.admission.admit() == 1


async def test_outputs_reach_the_jobs_that_need_them(world: World) -> None:
    await started(world, OUTPUTS)
    assert (await job(world, "never"))["status"] == "pending"
    await finish(world, "build", push={"digest": "sha256:1"})
    assert await column(world, "build", "outputs") == {"digest": "sha256:1"}
    never = await job(world, "never")
    assert (never["status"], never["reason"]) == ("skipped", "condition_false")
    assert never["message"] == never["condition"]
    assert never["condition"].endswith("→ false because needs.build.outputs.digest = 'sha256:1'")
    await finish(world, "each (a)", s={"x": "5m"})
    assert "contexts" in await definition(world, "deploy")
    await finish(world, "each (b)", s={"x": "${{ event.ref }}"})
    deploy = await job(world, "deploy")
    assert (deploy["status"], deploy["reason"]) == ("error", "config_invalid")
    assert deploy["message"].startswith(
        "`timeout: ${{ needs.each.outputs['a'].value }}` became `a-5m`: \"a-5m\" is not a duration."
    )


async def test_a_definition_is_final_when_the_needs_have_ended(world: World) -> None:
    await started(world, OUTPUTS.replace("    timeout: ${{ needs.each.outputs['a'].value }}\n", ""))
    await finish(world, "build", push={"digest": "sha256:1"})
    await finish(world, "each (a)", s={"x": "1"})
    await finish(world, "each (b)", s={"x": "${{ event.ref }}"})
    final = await definition(world, "deploy")
    assert final["env"] == {"DIGEST": "sha256:1", "B": "b-${{ event.ref }}"}
    assert final["templates"] == {"steps.0.env.ALSO": "${{ env.DIGEST }}-success"}
    assert "contexts" not in final
    assert (await job(world, "deploy"))["waiting_for"] == "slot"
    await finish(world, "deploy")
    run = await world.only_run()
    assert (run["status"], run["reason"]) == ("success", None)


async def test_a_retry_of_the_failed_jobs_keeps_those_of_a_matrix_that_succeeded(world: World) -> None:
    await started(world, OUTPUTS)
    first_run = (await world.only_run())["id"]
    await finish(world, "build", push={"digest": "sha256:1"})
    await finish(world, "each (a)", s={"x": "1"})
    await finish(world, "each (b)", "failed", "script_failed")
    assert (await world.only_run())["status"] == "failed"
    await world.apply(await world.command("retry", first_run, only="failed"))
    retried = await world.value("SELECT max(id) FROM pipeline_runs")
    assert retried != first_run
    rows = await world.rows("SELECT * FROM jobs WHERE run_id = $1 ORDER BY position", retried)
    assert [(row["key"], row["status"], row["carried_from"] is not None) for row in rows] == [
        ("build", "success", True),
        ("each (a)", "success", True),
        ("each (b)", "pending", False),
        ("deploy", "pending", False),
        ("never", "skipped", False),
    ]
    assert rows[4]["message"].endswith("→ false because needs.build.outputs.digest = 'sha256:1'")
    await finish(world, "each (b)", s={"x": "2"})
    deploy = await job(world, "deploy")
    assert (deploy["status"], deploy["run_id"]) == ("error", retried)
    assert "became `a-1`" in deploy["message"]


OF_THE_RELEASE_BEFORE = """
UPDATE jobs SET key = NULL, infra_retries = NULL, has_rules = false, definition = definition - 'id' - 'key'
"""


async def test_a_run_of_the_release_before_is_finished(world: World) -> None:
    await started(world, CHAIN)
    await world.sql.execute(OF_THE_RELEASE_BEFORE)
    await finish(world, "first")
    await finish(world, "second")
    await finish(world, "third")
    assert set((await world.statuses()).values()) == {"success"}
    assert (await world.only_run())["status"] == "success"


async def test_a_run_of_the_release_before_is_retried_without_the_jobs_that_succeeded(world: World) -> None:
    await started(world, CHAIN)
    await world.sql.execute(OF_THE_RELEASE_BEFORE)
    run_id = (await world.only_run())["id"]
    await finish(world, "first")
    await finish(world, "second", "failed", "script_failed")
    assert await world.statuses() == {"first": "success", "second": "failed", "third": "skipped"}
    await world.apply(await world.command("retry", run_id, only="failed"))
    retried = await world.value("SELECT max(id) FROM pipeline_runs")
    jobs = await world.jobs(retried)
    assert [(name, row["key"], row["carried_from"] is not None) for name, row in jobs.items()] == [
        ("first", "first", True),
        ("second", "second", False),
        ("third", "third", False),
    ]


@pytest.mark.parametrize("counted", [None, 0])
async def test_losses_that_a_scheduler_of_the_release_before_counted_are_counted(
    world: World, counted: int | None
) -> None:
    """With 0, a scheduler of this release had written the row before, during the upgrade."""
    await started(world, CHAIN.replace("first: {", "first: { retry: { infra: 1, backoff: 1s },"))
    await world.sql.execute(OF_THE_RELEASE_BEFORE)
    await world.sql.execute(
        "UPDATE jobs SET wanted_attempt = 2, infra_retries = $1 WHERE name = 'first'", counted
    )
    await finish(world, "first", "error", "evicted")
    row = await job(world, "first")
    assert (row["status"], row["reason"], row["wanted_attempt"]) == ("error", "evicted", 2)


async def test_a_group_that_can_not_be_evaluated_harms_no_other_pipeline(
    world: World,
) -> None:
    """A stranger may choose the names of branches and titles, on which an expression can fail."""
    fragile = "concurrency: { group: \"${{ format(event.branch, 'x') }}\" }\n"
    await world.repository()
    await world.pipeline(CHAIN + fragile)
    await world.pipeline(CHAIN)
    await world.deliver(push(world.octo_web, ref="refs/heads/a{b"))
    rows = await world.rows(
        """SELECT r.status, r.reason, j.message FROM pipeline_runs r JOIN jobs j ON j.run_id = r.id
            WHERE j.position = 0 ORDER BY r.id"""
    )
    assert [(row["status"], row["reason"]) for row in rows] == [
        ("error", "config_invalid"),
        ("pending", None),
    ]
    assert rows[0]["message"].startswith("`concurrency.group: ${{ format(event.branch, 'x') }}`: a brace")
