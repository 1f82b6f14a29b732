"""The changed files of a push are stored with the event, and path filters decide with them."""

from tests.harness.github import push
from tests.integration.scheduler.world import ONE_JOB, World

DOCS = ONE_JOB.replace("push: {}", 'push: { paths: ["docs/**"] }')


async def test_a_filtered_push_is_stored_with_its_files_and_has_no_run(world: World) -> None:
    await world.repository()
    await world.pipeline(DOCS)
    await world.deliver(push(world.octo_web))
    (event,) = await world.rows("SELECT changed_files, files_unknown FROM events")
    assert (event["changed_files"], event["files_unknown"]) == (["README.md"], None)
    (decision,) = await world.rows("SELECT outcome, reasons FROM decisions")
    assert decision["outcome"] == "filtered"
    assert "README.md" in decision["reasons"][0]["text"]
    assert await world.rows("SELECT id FROM pipeline_runs") == []


async def test_a_forced_push_runs_and_its_event_survives_a_retry(world: World) -> None:
    await world.repository()
    await world.pipeline(DOCS)
    await world.deliver(push(world.octo_web) | {"forced": True})
    (event,) = await world.rows("SELECT changed_files, files_unknown FROM events")
    assert (event["changed_files"], event["files_unknown"]) == (None, "forced")
    run = await world.only_run()
    await world.admission.admit()
    await world.run_job((await world.jobs())["build"]["id"], "failed", "script_failed")
    command_id = await world.command("retry", run["id"])
    await world.apply(command_id)
    assert await world.effect(command_id) == ("applied", "run_created")
