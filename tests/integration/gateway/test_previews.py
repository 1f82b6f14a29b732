"""Previews: what events would have started under a YAML, beside what was decided. Nothing is written."""

import json
from typing import Any

import pytest

from tests.harness.client import Client
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving

CLOSING = {"kind": "pull_request", "pull_request": 7, "base_branch": "main", "branch": "topic"}


def yaml(repository: str, **keys: Any) -> str:
    jobs = {"test": {"if": "event.branch == 'main'", "steps": [{"run": "true"}]}}
    document = {"version": 1, "repository": repository, "on": {"push": {"branches": ["main"]}}, "jobs": jobs}
    return json.dumps({**document, **keys})


class Ground:
    """A maintainer with one repository and one pipeline for it."""

    def __init__(self, client: Client, user_id: int, repository: dict[str, Any], pipeline: dict[str, Any]):
        self.client, self.user_id, self.repository, self.pipeline = client, user_id, repository, pipeline

    async def preview(self, yaml_config: str | None = None, **more: Any) -> list[dict[str, Any]]:
        body = {"yaml_config": yaml_config or yaml(self.repository["full_name"]), **more}
        answer = await self.client.post(f"/pipelines/{self.pipeline['id']}/preview", body)
        items: list[dict[str, Any]] = answer.expect(200).json["items"]
        return items


@pytest.fixture
async def ground(served: Serving) -> Ground:
    user_id, client = await served.person()
    repository = await served.repository()
    grant = f"/repositories/{repository['id']}/grants/{user_id}"
    (await served.admin.put(grant, {"role": "maintainer"})).expect(200)
    return Ground(
        client, user_id, repository, await served.pipeline(client, repository=repository["full_name"])
    )


async def test_decisions_are_shown_beside_those_that_were_stored(
    served: Serving, history: History, ground: Ground
) -> None:
    of = {"repository": ground.repository["full_name"]}
    main = await history.event(ground.repository["id"], **of)
    run_id = await history.run(ground.pipeline, ground.repository["id"], event_id=main)
    await history.decide(main, ground.pipeline, "run", run_id)
    topic = await history.event(ground.repository["id"], branch="topic", ref="refs/heads/topic", **of)
    tables = {table: await served.count(table) for table in ("events", "decisions", "outbox", "audit_log")}

    first, second = await ground.preview()

    assert (first["event_id"], first["was"], first["changed"]) == (topic, None, True)
    assert [why["code"] for why in first["would_be"]["reasons"]] == ["branch"]
    assert first["would_be"]["jobs"] == []
    assert (second["event_id"], second["was"]["run_id"], second["changed"]) == (main, run_id, False)
    why = "if: event.branch == 'main' → true because event.branch = 'main'"
    (job,) = second["would_be"]["jobs"]
    assert (job["key"], job["outcome"], job["why"]) == ("test", "run", why)
    assert tables == {table: await served.count(table) for table in tables}


async def test_circumstances_are_those_of_the_scheduler(
    served: Serving, history: History, ground: Ground
) -> None:
    event_id = await history.event(ground.repository["id"], repository="octo/old-name")
    elsewhere = yaml("octo/elsewhere")

    async def verdict(yaml_config: str | None = None) -> str | None:
        (item,) = await ground.preview(yaml_config, event_ids=[event_id])
        return item["would_be"] and f"{item['would_be']['outcome']} {item['would_be']['reasons'][0]['code']}"

    assert await verdict() == "run matched"
    assert await verdict(elsewhere) is None
    grant = f"/repositories/{ground.repository['id']}/grants/{ground.user_id}"
    (await served.admin.put(grant, {"role": "viewer"})).expect(200)
    assert await verdict() == "not_allowed owner_not_maintainer"
    (await ground.client.put(f"/pipelines/{ground.pipeline['id']}", {"enabled": False})).expect(200)
    assert await verdict() == "skipped disabled"


async def test_only_closings_that_were_known_count(history: History, ground: Ground) -> None:
    opened = CLOSING | {"action": "opened", "repository": ground.repository["full_name"]}
    times = await history.connection.fetchrow("SELECT now() AS a, now() + interval '9 s' AS b")
    first = await history.event(ground.repository["id"], **opened, happened_at=times["a"])
    closed = opened | {"action": "closed"}
    await history.event(ground.repository["id"], **closed, happened_at=times["b"])
    late = await history.event(ground.repository["id"], **opened, happened_at=times["a"])
    pull_requests = yaml(ground.repository["full_name"], on={"pull_request": {}})
    outcomes = {item["event_id"]: item["would_be"]["outcome"] for item in await ground.preview(pull_requests)}
    assert (outcomes[first], outcomes[late]) == ("run", "superseded")


async def test_others_events_are_neither_shown_nor_told_apart(
    served: Serving, history: History, ground: Ground
) -> None:
    theirs = await served.repository()
    event_id = await history.event(theirs["id"], repository=theirs["full_name"])
    body = {"yaml_config": yaml("octo/*")}
    assert (await ground.client.post("/pipelines/preview", body)).expect(200).json == {"items": []}
    for unknown in (event_id, 2**60):
        answer = await ground.client.post("/pipelines/preview", body | {"event_ids": [unknown]})
        (fault,) = answer.expect(422).json["errors"]
        assert (fault["path"], fault["code"]) == ("body.event_ids", "unknown_event")
    items = (await served.admin.post("/pipelines/preview", body)).expect(200).json["items"]
    assert [item["event_id"] for item in items] == [event_id]


@pytest.mark.parametrize(
    "more", [{"events": 0}, {"events": 51}, {"event_ids": []}, {"event_ids": [1], "events": 1}]
)
async def test_limits_are_named(ground: Ground, more: dict[str, Any]) -> None:
    body = {"yaml_config": yaml("octo/web"), **more}
    (await ground.client.post("/pipelines/preview", body)).expect(422)


async def test_an_invalid_yaml_has_its_errors(ground: Ground) -> None:
    answer = await ground.client.post("/pipelines/preview", {"yaml_config": "version: 1\n"})
    assert answer.expect(422).json["type"] == "urn:towpath:problem:pipeline_invalid"


async def test_previews_that_take_too_long_name_the_limit(
    served: Serving, history: History, ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        await history.event(ground.repository["id"], repository=ground.repository["full_name"])
    monkeypatch.setattr(served.gateway.pipelines, "preview_share", 0.0)
    body = {"yaml_config": yaml(ground.repository["full_name"])}
    answer = await ground.client.post("/pipelines/preview", body)
    (fault,) = answer.expect(422).json["errors"]
    assert (fault["path"], fault["code"]) == ("body.events", "too_much_work")
    assert "TOWPATH_PIPELINE_CHECK_SECONDS" in fault["message"]
