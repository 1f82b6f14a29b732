"""Events and deliveries over HTTP: the outcome of every webhook, and the reason of every decision."""

import itertools
import json
import os
from typing import Any

import pytest

from tests.harness.coverage import covers
from tests.harness.github import ZERO, FakeRepository, new_sha, pull_request, push, signed_headers, to_bytes
from tests.harness.installation import GITEA_SECRET, GITHUB_SECRET, Towpath
from tests.harness.scenes import Document, Scene, event_of, outcome_of, scene, verdict

ON: Document = {
    "push": {"branches": ["main", "release/**", "!release/old"], "tags": ["v*"]},
    "pull_request": {"branches": ["main"]},
}

PUSHES: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "a branch that matches": ({}, ("run", "matched")),
    "a branch below a folder": ({"ref": "refs/heads/release/1/x"}, ("run", "matched")),
    "another branch": ({"ref": "refs/heads/topic"}, ("not_matched", "branch")),
    "an excluded branch": ({"ref": "refs/heads/release/old"}, ("not_matched", "branch")),
    "a tag that matches": ({"ref": "refs/tags/v1"}, ("run", "matched")),
    "another tag": ({"ref": "refs/tags/main"}, ("not_matched", "tag")),
    "a deleted branch": ({"sha": ZERO}, ("skipped", "deleted")),
    "a deleted tag": ({"ref": "refs/tags/v1", "sha": ZERO}, ("skipped", "deleted")),
    "a new branch": ({"before": ZERO}, ("run", "matched")),
    **{
        f"a message with {word}": ({"message": f"typo {word}"}, ("skipped", "skip_ci"))
        for word in ("[skip ci]", "[CI SKIP]", "[no ci]", "[skip actions]")
    },
    "a tag of a skipped commit": ({"ref": "refs/tags/v2", "message": "[skip ci]"}, ("run", "matched")),
    "a message that only says skip": ({"message": "skip ci"}, ("run", "matched")),
}


@pytest.mark.parametrize(("fields", "wanted"), PUSHES.values(), ids=PUSHES.keys())
async def test_every_push_gets_a_decision_with_its_reason(
    towpath: Towpath, fields: dict[str, Any], wanted: tuple[str, str]
) -> None:
    one = await scene(towpath, on=ON)
    decision = await one.decision(await one.push(**fields))
    assert verdict(decision) == wanted
    assert (decision["run_id"] is not None) == (wanted[0] == "run")
    assert len(await towpath.runs(one.pipeline)) == (1 if wanted[0] == "run" else 0)


async def test_a_forced_push_an_empty_one_and_one_without_a_head_commit_run(towpath: Towpath) -> None:
    one = await scene(towpath, on=ON)
    odd: Document
    for odd in ({"forced": True}, {"commits": []}, {"head_commit": None}, {"pusher": None, "sender": None}):
        answer = await towpath.deliver({**push(one.repository), **odd})
        assert verdict(await one.decision(answer.expect(202).json["delivery_id"])) == ("run", "matched"), odd


async def test_the_changed_files_filter_pushes(towpath: Towpath) -> None:
    one = await scene(towpath, on={"push": {"paths": {"exclude": ["**/*.md"]}}})
    delivery_id = await one.push()
    decision = await one.decision(delivery_id)
    assert verdict(decision) == ("filtered", "paths")
    assert "`README.md`" in decision["reasons"][0]["text"]
    event = await event_of(towpath, delivery_id)
    assert (event["changed_files"], event["files_unknown"]) == (["README.md"], None)
    forced = {**push(one.repository), "forced": True}
    answer = await towpath.deliver(forced)
    decision = await one.decision(answer.expect(202).json["delivery_id"])
    assert [reason["code"] for reason in decision["reasons"]] == ["matched", "paths_unknown"]


HAS_PODS = os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes"
OF_A_FORK = ("run", "matched") if HAS_PODS else ("untrusted", "local_cluster")

PULL_REQUESTS: dict[str, tuple[dict[str, Any], tuple[str, str]]] = {
    "opened": ({}, ("run", "matched")),
    "synchronize": ({"action": "synchronize"}, ("run", "matched")),
    "reopened": ({"action": "reopened"}, ("run", "matched")),
    "closed": ({"action": "closed"}, ("not_matched", "type")),
    "from a fork": ({"fork": True}, OF_A_FORK),
}


@pytest.mark.parametrize(("fields", "wanted"), PULL_REQUESTS.values(), ids=PULL_REQUESTS.keys())
async def test_every_pull_request_gets_a_decision_with_its_reason(
    towpath: Towpath, fields: dict[str, Any], wanted: tuple[str, str]
) -> None:
    one = await scene(towpath, on=ON)
    delivery_id = await one.pull_request(**fields)
    assert verdict(await one.decision(delivery_id)) == wanted
    assert (await event_of(towpath, delivery_id))["trusted"] is not fields.get("fork", False)


async def sent(one: Scene, payload: Document) -> tuple[str, str]:
    answer = await one.towpath.deliver(payload, event="pull_request")
    return verdict(await one.decision(answer.expect(202).json["delivery_id"]))


async def test_a_pull_request_whose_head_is_gone_or_whose_base_does_not_match_does_not_run(
    towpath: Towpath,
) -> None:
    one = await scene(towpath, on=ON)
    gone = pull_request(one.repository)
    gone["pull_request"]["head"]["repo"] = None
    elsewhere = pull_request(one.repository)
    elsewhere["pull_request"]["base"]["ref"] = "release/1"
    skipped = pull_request(one.repository)
    skipped["pull_request"]["title"] = "Typo [skip ci]"
    assert await sent(one, gone) == OF_A_FORK
    assert await sent(one, elsewhere) == ("not_matched", "base_branch")
    assert await sent(one, skipped) == ("skipped", "skip_ci")


async def test_a_pipeline_for_one_kind_of_event_says_so_of_the_other(towpath: Towpath) -> None:
    pushes, pulls = await scene(towpath, on={"push": {}}), await scene(towpath, on={"pull_request": {}})
    assert verdict(await pushes.decision(await pushes.pull_request())) == ("not_matched", "event")
    assert verdict(await pulls.decision(await pulls.push())) == ("not_matched", "event")
    tags = await scene(towpath, on={"push": {"tags": ["v*"]}})
    branches = await scene(towpath, on={"push": {"branches": ["main"]}})
    assert await tags.decided() == ("not_matched", "branch")
    assert await branches.decided(ref="refs/tags/v1") == ("not_matched", "tag")


async def test_an_opening_that_arrives_after_the_closing_is_superseded(towpath: Towpath) -> None:
    one = await scene(towpath, on=ON)
    closed = await one.pull_request(action="closed", updated_at="2026-11-20T11:00:00Z")
    assert verdict(await one.decision(closed)) == ("not_matched", "type")
    assert verdict(await one.decision(await one.pull_request(updated_at="2026-11-20T10:00:00Z"))) == (
        "superseded",
        "closed",
    )
    assert verdict(
        await one.decision(await one.pull_request(number=2, updated_at="2026-11-20T10:00:00Z"))
    ) == ("run", "matched")
    assert verdict(
        await one.decision(await one.pull_request(action="reopened", updated_at="2026-11-20T12:00:00Z"))
    ) == ("run", "matched")


async def test_every_pipeline_of_a_repository_decides_for_itself_and_shows_it_to_its_owner(
    towpath: Towpath,
) -> None:
    one = await scene(towpath, on=ON)
    owner = one.repository.full_name.partition("/")[0]
    globbed = await towpath.pipeline(
        one.person, one.pipeline["yaml_config"].replace(one.repository.full_name, f"{owner}/*")
    )
    nobodys = await towpath.person()
    unseen = await towpath.pipeline(nobodys, one.pipeline["yaml_config"])

    event = await event_of(towpath, await one.push())
    found = {decision["pipeline_config_id"]: decision["outcome"] for decision in event["decisions"]}
    assert {
        one.pipeline["id"]: "run",
        globbed["id"]: "run",
        unseen["id"]: "not_allowed",
    }.items() <= found.items()
    mine = (await one.person.client.get(f"/events/{event['id']}")).expect(200).json
    assert {decision["pipeline_config_id"] for decision in mine["decisions"]} == {
        one.pipeline["id"],
        globbed["id"],
    }
    (await nobodys.client.get(f"/events/{event['id']}")).expect(404)
    (await one.person.client.delete(f"/pipelines/{globbed['id']}")).expect(204)


# ---------------------------------------------------------------- what becomes of deliveries


@covers("POST /webhooks/github 200 202", "GET /deliveries/{delivery_id} 200")
async def test_pings_are_answered_and_other_events_recorded_as_ignored(towpath: Towpath) -> None:
    one = await scene(towpath)
    pong = (
        await towpath.deliver(
            {"zen": "Keep it logically awesome.", "hook_id": 1, "repository": one.repository.json},
            event="ping",
        )
    ).expect(200)
    assert pong.json["status"] == "pong"

    ignored = {
        "issues": {"action": "opened"},
        "merge_group": {},
        "unheard_of": {},
        "pull_request": {"action": "labeled"},
    }
    for event, more in ignored.items():
        answer = await towpath.deliver({**pull_request(one.repository), **more}, event=event)
        delivery = await outcome_of(towpath, answer.expect(202).json["delivery_id"])
        assert (delivery["outcome"], delivery["event_id"]) == ("ignored", None), event
        assert delivery["reason"]
    assert await towpath.runs(one.pipeline) == []


async def test_a_repository_that_nobody_registered_starts_nothing(towpath: Towpath) -> None:
    delivery = await outcome_of(towpath, await towpath.deliver_push(FakeRepository("octo/unheard-of")))
    assert (delivery["outcome"], delivery["repository_id"]) == ("unknown_repository", None)


async def test_a_known_name_with_another_id_is_another_repository(towpath: Towpath) -> None:
    one = await scene(towpath)
    delivery = await outcome_of(towpath, await towpath.deliver_push(FakeRepository(one.repository.full_name)))
    assert delivery["outcome"] == "repository_mismatch"
    assert await towpath.runs(one.pipeline) == []


async def test_a_renamed_repository_stays_itself(towpath: Towpath) -> None:
    one = await scene(towpath)
    renamed = FakeRepository(one.repository.full_name + "-renamed", one.repository.forge_id)
    decision = await one.decision(await towpath.deliver_push(renamed))
    assert verdict(decision) == ("run", "matched")


async def test_of_two_hooks_that_report_the_same_one_counts(towpath: Towpath) -> None:
    one = await scene(towpath)
    await one.started()
    body = to_bytes(push(one.repository))
    headers = signed_headers(GITHUB_SECRET, body, event="push") | {
        "X-GitHub-Hook-Installation-Target-Type": "organization"
    }
    answer = (
        await towpath.admin.as_(None).request("POST", "/webhooks/github", raw=body, headers=headers)
    ).expect(202)
    assert (await outcome_of(towpath, answer.json["delivery_id"]))["outcome"] == "other_hook"
    assert len(await towpath.runs(one.pipeline)) == 1


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"nonsense", b'{"ref": 1}', b'{"repository": {"id": "1", "full_name": "a/b"}}', b"\xff\x00"],
)
async def test_a_signed_body_that_is_no_push_is_recorded_as_failed(towpath: Towpath, body: bytes) -> None:
    """Spaces make each body unique, because the same bytes sent twice are one delivery."""
    answer = await towpath.deliver(body + b" " * next(_LENGTH))
    delivery = await outcome_of(towpath, answer.expect(202).json["delivery_id"])
    assert delivery["outcome"] == "failed"
    assert delivery["reason"]


_LENGTH = itertools.count(1)


@covers("POST /webhooks/gitea 200 202 401")
async def test_gitea_pushes_count_for_giteas_repositories_alone(towpath: Towpath) -> None:
    one = await scene(towpath)
    body = to_bytes(push(one.repository))
    signature = signed_headers(GITEA_SECRET, body, event="push")["X-Hub-Signature-256"].removeprefix(
        "sha256="
    )
    headers = {
        "Content-Type": "application/json",
        "X-Gitea-Event": "push",
        "X-Gitea-Delivery": f"gitea-{new_sha()}",
        "X-Gitea-Signature": signature,
    }
    nobody = towpath.admin.as_(None)

    answer = (await nobody.request("POST", "/webhooks/gitea", raw=body, headers=headers)).expect(202)
    assert (await outcome_of(towpath, answer.json["delivery_id"]))["outcome"] == "unknown_repository"
    (await nobody.request("POST", "/webhooks/gitea", raw=body, headers=headers)).expect(200)
    (await nobody.request("POST", "/webhooks/gitea", raw=body + b" ", headers=headers)).expect(401)


# ---------------------------------------------------------------- lists


@covers("GET /events 200", "GET /events/{id} 200 404")
async def test_events_are_found_by_what_they_are(towpath: Towpath) -> None:
    one = await scene(towpath, on=ON)
    first = await event_of(towpath, await one.push())
    second = await event_of(towpath, await one.push(ref="refs/tags/v1"))
    third = await event_of(towpath, await one.pull_request(number=7))
    client, received = one.person.client, second["received_at"]

    async def found(query: str) -> list[int]:
        items = (
            (await client.get(f"/events?repository={one.repository.full_name}&{query}"))
            .expect(200)
            .json["items"]
        )
        return [item["id"] for item in items]

    assert await found("limit=3") == [third["id"], second["id"], first["id"]]
    assert await found("kind=tag") == [second["id"]]
    assert await found("kind=pull_request&pull_request=7") == [third["id"]]
    assert await found("pull_request=8") == []
    assert await found("branch=main") == [first["id"]]
    assert await found(f"sha={third['sha']}") == [third["id"]]
    assert await found(f"received_after={received}") == [third["id"], second["id"]]
    assert await found(f"received_before={received}") == [first["id"]]
    assert (await client.get(f"/events?repository={one.repository.full_name}x")).expect(200).json[
        "items"
    ] == []
    (await client.get(f"/events/{2**62}")).expect(404)
    for bad in (
        "kind=issue",
        "received_after=2026-01-01T00:00:00",
        "received_after=yesterday",
        "pull_request=x",
    ):
        (await client.get(f"/events?{bad}")).expect(422)


@covers("GET /deliveries 200", "GET /deliveries/{delivery_id} 200 404")
async def test_deliveries_are_found_by_what_became_of_them(towpath: Towpath) -> None:
    one = await scene(towpath)
    pushed = await one.push()
    ignored = (
        (await towpath.deliver(pull_request(one.repository), event="issues")).expect(202).json["delivery_id"]
    )
    for delivery_id in (pushed, ignored):
        await outcome_of(towpath, delivery_id)
    client = one.person.client

    async def found(query: str) -> list[str]:
        return [
            item["delivery_id"]
            for item in (await client.get(f"/deliveries?{query}")).expect(200).json["items"]
        ]

    assert await found("source=github") == [ignored, pushed]
    assert await found("outcome=event") == [pushed]
    assert await found("outcome=ignored&event_type=issues") == [ignored]
    assert await found("source=gitea") == []
    (await client.get("/deliveries?outcome=lost")).expect(422)

    shown = (await client.get(f"/deliveries/{pushed}?source=github")).expect(200).json
    assert shown["headers"]["x-github-event"] == "push"
    assert "x-hub-signature-256" not in json.dumps(shown["headers"]).lower()
    assert shown["is_body_kept"] is True
    (await client.get(f"/deliveries/{pushed}?source=gitea")).expect(404)
