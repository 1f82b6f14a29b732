"""The scheduler turns a stored delivery into its outcome, event, decisions and runs."""

from typing import Any

import pytest

from shared.errors import Rejected
from tests.harness.github import ZERO, FakeRepository, pull_request, push
from tests.integration.scheduler.world import ONE_JOB, World

ORGANIZATION: dict[str, Any] = {"x_github_hook_installation_target_type": "organization"}
REPOSITORY: dict[str, Any] = {"x_github_hook_installation_target_type": "repository"}


async def test_a_push_starts_a_run(world: World) -> None:
    repository_id, pipeline_id = await world.repository(), await world.pipeline()
    delivery_id = await world.deliver(push(world.octo_web, sha="a" * 40))
    run = await world.only_run()
    assert await world.outcome(delivery_id) == "event"
    assert (run["pipeline_config_id"], run["repository_id"], run["status"]) == (
        pipeline_id,
        repository_id,
        "pending",
    )
    assert (run["event_kind"], run["branch"], run["sha"]) == ("push", "main", "a" * 40)
    assert (run["number"], run["rerun"], run["triggered_by"], run["logs"]) == (
        1,
        0,
        "github:mona",
        f"/runs/{run['id']}/logs",
    )
    (created,) = await world.sent("run.created")
    assert created.run_ids == (run["id"],)


async def test_a_delivery_told_of_many_times_starts_one_run(world: World) -> None:
    await world.repository()
    await world.pipeline()
    delivery_id = await world.deliver(push(world.octo_web))
    await world.decide(delivery_id, delivery_id)
    await world.decide(delivery_id)
    run = await world.only_run()
    assert run["number"] == 1


async def test_the_event_keeps_what_the_delivery_said(world: World) -> None:
    await world.repository()
    delivery_id = await world.deliver(
        push(world.octo_web, ref="refs/tags/v1", sha="b" * 40, message="a \0 release")
    )
    (event,) = await world.rows("SELECT * FROM events")
    assert (event["delivery_id"], event["kind"], event["tag"], event["branch"], event["sha"]) == (
        delivery_id,
        "tag",
        "v1",
        None,
        "b" * 40,
    )
    assert (event["message"], event["sender_login"], event["sender_id"], event["trusted"]) == (
        "a \N{REPLACEMENT CHARACTER} release",
        "mona",
        11,
        True,
    )


async def test_runs_of_a_pipeline_are_numbered_in_order(world: World) -> None:
    await world.repository()
    await world.pipeline()
    ids = [await world.delivery(push(world.octo_web)) for _ in range(3)]
    await world.decide(*ids)
    await world.deliver(push(world.octo_web))
    assert [run["number"] for run in await world.rows("SELECT number FROM pipeline_runs ORDER BY id")] == [
        1,
        2,
        3,
        4,
    ]


async def test_every_pipeline_that_names_the_repository_gets_a_decision(world: World) -> None:
    await world.repository()
    runs = await world.pipeline(ONE_JOB.replace("octo/web", "octo/*"))
    does_not = await world.pipeline(ONE_JOB.replace("push: {}", "push: { branches: [release] }"))
    await world.pipeline(ONE_JOB.replace("octo/web", "other/web"))
    await world.deliver(push(world.octo_web))
    decisions = {row["pipeline_config_id"]: row for row in await world.rows("SELECT * FROM decisions")}
    assert {pipeline_id: row["outcome"] for pipeline_id, row in decisions.items()} == {
        runs: "run",
        does_not: "not_matched",
    }
    assert decisions[runs]["run_id"] == (await world.only_run())["id"]
    assert decisions[does_not]["reasons"] == [
        {"code": "branch", "text": "Branch `main` matches none of `release`."}
    ]


async def test_a_deleted_pipeline_gets_no_decision(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.sql.execute("UPDATE pipeline_configs SET deleted_at = now()")
    assert await world.outcome(await world.deliver(push(world.octo_web))) == "event"
    assert await world.rows("SELECT * FROM decisions") == []


async def test_a_disabled_pipeline_is_told_to_be_disabled(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.sql.execute("UPDATE pipeline_configs SET enabled = false")
    await world.deliver(push(world.octo_web))
    (decision,) = await world.rows("SELECT outcome, reasons, run_id FROM decisions")
    assert tuple(decision) == ("skipped", [{"code": "disabled", "text": "The pipeline is disabled."}], None)


async def test_the_newest_revision_counts(world: World) -> None:
    await world.repository()
    pipeline_id = await world.pipeline()
    await world.deliver(push(world.octo_web))
    revision_id = await world.save(pipeline_id, ONE_JOB.replace("build", "check"))
    await world.deliver(push(world.octo_web))
    (latest,) = await world.rows(
        "SELECT r.revision_id, j.name FROM pipeline_runs r JOIN jobs j ON j.run_id = r.id WHERE r.number = 2"
    )
    assert tuple(latest) == (revision_id, "check")


async def test_a_pipeline_whose_owner_is_no_maintainer_does_not_run(world: World) -> None:
    await world.repository()
    stranger, admin = await world.user("stranger"), await world.user("admin", is_admin=True)
    theirs, admins = await world.pipeline(owner=stranger), await world.pipeline(owner=admin)
    await world.deliver(push(world.octo_web))
    outcomes = dict(await world.rows("SELECT pipeline_config_id, outcome FROM decisions"))
    assert outcomes == {theirs: "not_allowed", admins: "run"}


async def test_a_pipeline_whose_owner_is_disabled_does_not_run(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.sql.execute("UPDATE users SET disabled_at = now()")
    await world.deliver(push(world.octo_web))
    assert [row["outcome"] for row in await world.rows("SELECT outcome FROM decisions")] == ["not_allowed"]


async def test_a_fork_gets_the_decision_untrusted_and_no_run(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.deliver(pull_request(world.octo_web, fork=True), "pull_request")
    assert [row["outcome"] for row in await world.rows("SELECT outcome FROM decisions")] == ["untrusted"]
    assert await world.rows("SELECT * FROM pipeline_runs") == []


async def test_a_deleted_branch_starts_nothing(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.deliver(push(world.octo_web, sha=ZERO))
    assert [row["outcome"] for row in await world.rows("SELECT outcome FROM decisions")] == ["skipped"]


@pytest.mark.parametrize(
    ("event_type", "outcome"), [("ping", "ignored"), ("issues", "ignored"), ("push", "unknown_repository")]
)
async def test_what_is_about_no_registered_repository(world: World, event_type: str, outcome: str) -> None:
    assert await world.outcome(await world.deliver(push(world.octo_web), event_type)) == outcome
    assert await world.rows("SELECT * FROM events") == []


async def test_the_repositorys_people_can_see_its_ignored_deliveries(world: World) -> None:
    repository_id = await world.repository()
    delivery_id = await world.deliver(
        {"zen": "Keep it logically awesome.", "repository": world.octo_web.json}, "ping"
    )
    assert (
        await world.value("SELECT repository_id FROM delivery_outcomes WHERE delivery_id = $1", delivery_id)
        == repository_id
    )


async def test_a_body_that_cannot_be_read_is_failed_and_harms_no_other(world: World) -> None:
    await world.repository()
    await world.pipeline()
    bad = [
        await world.delivery(b"not json"),
        await world.delivery({"ref": "refs/heads/main"}),
        await world.delivery(b"[1]"),
    ]
    good = await world.delivery(push(world.octo_web))
    with pytest.raises(Rejected):
        await world.decide(*bad, good)
    assert [await world.outcome(delivery_id) for delivery_id in (*bad, good)] == [
        "failed",
        "failed",
        "failed",
        "event",
    ]
    reasons = await world.rows(
        "SELECT reason FROM delivery_outcomes WHERE outcome = 'failed' ORDER BY delivery_id"
    )
    assert [row["reason"] for row in reasons] == [
        "The body is not JSON.",
        "The body has no `repository.full_name`.",
        "The body is not a JSON object.",
    ]
    with pytest.raises(Rejected):
        await world.decide(bad[0])
    await world.decide(good)
    assert await world.only_run()


async def test_a_delivery_that_breaks_the_code_is_failed_and_harms_no_other(world: World) -> None:
    await world.repository()
    good, poison = await world.delivery(push(world.octo_web)), await world.delivery(push(world.octo_web))
    await world.sql.execute("""UPDATE deliveries SET headers = '["no object"]' WHERE id = $1""", poison)
    with pytest.raises(Rejected, match=str(poison)):
        await world.decide(good, poison)
    assert (await world.outcome(good), await world.outcome(poison)) == ("event", "failed")


async def test_a_damaged_or_forgotten_body_is_failed(world: World) -> None:
    await world.repository()
    damaged, forgotten = (
        await world.delivery(push(world.octo_web)),
        await world.delivery(push(world.octo_web)),
    )
    await world.sql.execute("UPDATE deliveries SET body = 'damaged' WHERE id = $1", damaged)
    await world.sql.execute("UPDATE deliveries SET body = NULL WHERE id = $1", forgotten)
    with pytest.raises(Rejected):
        await world.decide(damaged, forgotten)
    assert (await world.outcome(damaged), await world.outcome(forgotten)) == ("failed", "failed")


async def test_a_delivery_that_does_not_exist_is_rejected(world: World) -> None:
    await world.repository()
    good = await world.delivery(push(world.octo_web))
    with pytest.raises(Rejected, match=str(good + 1)):
        await world.decide(good, good + 1)
    assert await world.outcome(good) == "event"


async def test_deliveries_that_do_not_fit_into_memory_together_are_decided_in_turn(world: World) -> None:
    await world.repository()
    large = [await world.delivery(push(world.octo_web)) for _ in range(3)]
    await world.sql.execute(
        "UPDATE deliveries SET body = body || decode(repeat('00', 20000000), 'hex')"
    )  # the zstd data ends before these bytes
    await world.decide(*large)
    assert {await world.outcome(delivery_id) for delivery_id in large} == {"event"}
    assert await world.value("SELECT count(DISTINCT decided_at) FROM delivery_outcomes") == 2


async def test_the_first_delivery_teaches_a_repositorys_id(world: World) -> None:
    repository_id = await world.repository()
    await world.deliver(push(world.octo_web), **REPOSITORY)
    (known,) = await world.rows("SELECT * FROM repository_identities")
    assert (known["repository_id"], known["forge_id"], known["full_name"], known["hook_target_type"]) == (
        repository_id,
        world.octo_web.forge_id,
        "octo/web",
        "repository",
    )


@pytest.mark.parametrize("registered", [True, False])
async def test_a_known_name_with_another_id_is_another_repository(world: World, registered: bool) -> None:
    await world.repository(forge_id=world.octo_web.forge_id if registered else None)
    await world.deliver(push(world.octo_web))
    delivery_id = await world.deliver(push(FakeRepository("octo/web")))
    assert await world.outcome(delivery_id) == "repository_mismatch"
    assert (
        await world.value("SELECT repository_id FROM delivery_outcomes WHERE delivery_id = $1", delivery_id)
        is None
    )


async def test_a_renamed_repository_keeps_its_pipelines(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.deliver(push(world.octo_web))
    await world.deliver(push(FakeRepository("octo/site", world.octo_web.forge_id)))
    assert await world.value("SELECT full_name FROM repository_identities") == "octo/site"
    assert await world.value("SELECT count(*) FROM pipeline_runs") == 2


async def test_a_second_hook_for_the_same_push_starts_nothing(world: World) -> None:
    await world.repository()
    await world.pipeline()
    first, second = (
        await world.delivery(push(world.octo_web), **REPOSITORY),
        await world.delivery(push(world.octo_web), **ORGANIZATION),
    )
    await world.decide(first, second)
    assert (await world.outcome(first), await world.outcome(second)) == ("event", "other_hook")
    assert await world.only_run()


async def test_the_registered_target_type_counts_whichever_comes_first(world: World) -> None:
    await world.repository(target_type="organization")
    first, second = (
        await world.deliver(push(world.octo_web), **REPOSITORY),
        await world.deliver(push(world.octo_web), **ORGANIZATION),
    )
    assert (await world.outcome(first), await world.outcome(second)) == ("other_hook", "event")


async def test_a_repositorys_own_hook_speaks_for_no_other(world: World) -> None:
    web, other = await world.repository(), await world.repository("octo/other")
    hook_keys = dict(await world.rows("SELECT id, hook_key FROM repositories"))
    delivery_ids = [await world.delivery(push(world.octo_web)) for _ in range(2)]
    for delivery_id, repository_id in zip(delivery_ids, (web, other), strict=True):
        await world.sql.execute(
            "UPDATE deliveries SET hook_key = $2 WHERE id = $1", delivery_id, hook_keys[repository_id]
        )
    await world.decide(*delivery_ids)
    assert [await world.outcome(delivery_id) for delivery_id in delivery_ids] == [
        "event",
        "repository_mismatch",
    ]


async def test_a_repository_registered_anew_is_learned_again(world: World) -> None:
    await world.repository()
    await world.deliver(push(world.octo_web))
    await world.sql.execute("UPDATE repositories SET deleted_at = now()")
    assert await world.outcome(await world.deliver(push(world.octo_web))) == "unknown_repository"
    anew = await world.repository()
    assert await world.outcome(await world.deliver(push(world.octo_web))) == "event"
    assert await world.value("SELECT repository_id FROM repository_identities") == anew


async def test_a_gitea_push_is_told_apart_from_githubs(world: World) -> None:
    await world.repository(forge="gitea")
    assert await world.outcome(await world.deliver(push(world.octo_web))) == "unknown_repository"
    assert await world.outcome(await world.deliver(push(world.octo_web), source="gitea")) == "event"
