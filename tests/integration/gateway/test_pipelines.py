"""Pipelines through the API: create, revise, find and delete."""

import asyncio
from typing import Any

import pytest

from tests.integration.gateway.serving import PIPELINE, Serving

YAML = PIPELINE.format(repository="octo/web")
OTHER_YAML = PIPELINE.format(repository="octo/other")


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def test_a_pipeline_is_stored_as_it_was_sent(served: Serving) -> None:
    user_id, person = await served.person()
    answer = (
        await person.post("/pipelines", {"name": "web-ci", "description": "Tests.", "yaml_config": YAML})
    ).expect(201)
    record = answer.json
    assert {
        "name": "web-ci",
        "description": "Tests.",
        "yaml_config": YAML,
        "enabled": True,
        "revision": 1,
        "created_by": user_id,
    }.items() <= record.items()
    assert record["created_at"].endswith("Z")
    assert len(record["created_at"]) == len("2026-11-20T10:00:00.000000Z")
    assert answer.headers["location"] == f"/pipelines/{record['id']}"
    again = (await person.get(answer.headers["location"])).expect(200)
    assert again.json == record
    assert again.headers["etag"] == answer.headers["etag"]
    query = (
        "SELECT repository_keys, model FROM pipeline_configs c JOIN pipeline_revisions r ON r.id = "
        "c.revision_id WHERE c.id = $1"
    )
    (row,) = await served.rows(query, record["id"])
    assert row["repository_keys"] == ["octo/web"]
    assert '"only"' in row["model"]


async def test_a_bad_yaml_is_refused_with_every_error_in_its_place(served: Serving) -> None:
    _, person = await served.person()
    bad = YAML.replace("steps:", "stepz:").replace("version: 1", "version: 9")
    problem = (await person.post("/pipelines", {"name": "bad", "yaml_config": bad})).expect(422).json
    assert len(problem["errors"]) >= 2
    for error in problem["errors"]:
        assert error["line"] >= 1
        assert error["column"] >= 1
        assert error["code"]
        assert error["message"]
    assert (await person.get("/pipelines")).json["items"] == []
    validation = (await person.post("/pipelines/validate", {"yaml_config": bad})).expect(200).json
    assert validation == {"valid": False, "errors": problem["errors"], "warnings": []}
    valid = (await person.post("/pipelines/validate", {"yaml_config": YAML})).json
    assert (valid["valid"], valid["errors"]) == (True, [])


async def test_a_change_of_the_yaml_makes_a_revision_and_any_other_does_not(served: Serving) -> None:
    _, person = await served.person()
    path = f"/pipelines/{(await served.pipeline(person))['id']}"
    assert (await person.put(path, {"description": "new", "enabled": False, "yaml_config": YAML})).expect(
        200
    ).json["revision"] == 1
    changed = (await person.put(path, {"yaml_config": OTHER_YAML})).expect(200).json
    assert (changed["revision"], changed["description"], changed["enabled"]) == (2, "new", False)
    revisions = (await person.get(f"{path}/revisions")).expect(200).json["items"]
    assert [(revision["number"], revision["yaml_config"]) for revision in revisions] == [
        (2, OTHER_YAML),
        (1, YAML),
    ]
    (await person.put(path, {"yaml_config": "nonsense"})).expect(422)


async def test_a_name_belongs_to_one_pipeline_of_an_owner(served: Serving) -> None:
    _, person = await served.person()
    _, another = await served.person()
    first = await served.pipeline(person, "web-ci")
    second = await served.pipeline(person, "other")
    (await person.post("/pipelines", {"name": "web-ci", "yaml_config": YAML})).expect(409)
    (await person.put(f"/pipelines/{second['id']}", {"name": "web-ci"})).expect(409)
    await served.pipeline(another, "web-ci")
    (await person.delete(f"/pipelines/{first['id']}")).expect(204)
    await served.pipeline(person, "web-ci")


async def test_of_two_made_at_once_under_one_name_one_is(served: Serving) -> None:
    _, person = await served.person()
    answers = await asyncio.gather(
        *(person.post("/pipelines", {"name": "web-ci", "yaml_config": YAML}) for _ in range(8))
    )
    assert sorted(answer.status for answer in answers) == [201] + [409] * 7


async def test_a_stale_change_is_refused(served: Serving) -> None:
    _, person = await served.person()
    path = f"/pipelines/{(await served.pipeline(person))['id']}"
    etag = (await person.get(path)).headers["etag"]
    newer = (
        (await person.put(path, {"description": "mine"}, headers={"If-Match": etag}))
        .expect(200)
        .headers["etag"]
    )
    assert newer != etag
    stale = (await person.put(path, {"description": "theirs"}, headers={"If-Match": etag})).expect(412)
    assert stale.headers["etag"] == newer
    (await person.delete(path, headers={"If-Match": etag})).expect(412)
    (await person.put(path, {"description": "anyway"}, headers={"If-Match": "*"})).expect(200)
    (
        await person.delete(path, headers={"If-Match": f'"0", {(await person.get(path)).headers["etag"]}'})
    ).expect(204)


async def test_a_deleted_pipeline_is_gone_but_its_rows_stay(served: Serving) -> None:
    _, person = await served.person()
    pipeline = await served.pipeline(person)
    path = f"/pipelines/{pipeline['id']}"
    (await person.delete(path)).expect(204)
    for answer in (
        await person.get(path),
        await person.put(path, {}),
        await person.delete(path),
        await person.get(f"{path}/revisions"),
    ):
        answer.expect(404)
    assert (await person.get("/pipelines")).json["items"] == []
    assert await served.count(f"pipeline_revisions WHERE pipeline_config_id = {pipeline['id']}") == 1


async def test_lists_are_paged_from_the_newest_on(served: Serving) -> None:
    _, person = await served.person()
    made = [(await served.pipeline(person, f"p{number}"))["id"] for number in range(5)]
    first = (await person.get("/pipelines?limit=2")).expect(200).json
    second = (await person.get(f"/pipelines?limit=2&cursor={first['next_cursor']}")).expect(200).json
    third = (await person.get(f"/pipelines?limit=2&cursor={second['next_cursor']}")).expect(200).json
    assert [item["id"] for page in (first, second, third) for item in page["items"]] == made[::-1]
    assert third["next_cursor"] is None
    assert [item["id"] for item in (await person.get("/pipelines?name=p3")).json["items"]] == [made[3]]


async def test_a_cursor_is_good_for_its_own_list_alone(served: Serving) -> None:
    _, person = await served.person()
    _, another = await served.person()
    for number in range(3):
        await served.pipeline(person, f"p{number}")
    cursor = (await person.get("/pipelines?limit=1")).json["next_cursor"]
    (await person.get(f"/pipelines?limit=1&name=x&cursor={cursor}")).expect(400)
    (await person.get(f"/runs?cursor={cursor}")).expect(400)
    (await another.get(f"/pipelines?cursor={cursor}")).expect(400)
    for foreign in ("A" * 22, "abc", "", "%00", "%C3%A9", "A" * 5000):
        problem = (await person.get(f"/pipelines?cursor={foreign}")).expect(400).json
        assert problem["type"] == "urn:towpath:problem:foreign_cursor"


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "name=%00", "limit=", "limit=1.0", "limit=%D9%A1"],
)
async def test_odd_queries_get_a_clear_answer(served: Serving, query: str) -> None:
    (await served.admin.get(f"/pipelines?{query}")).expect(422)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "x" * 201},
        {"name": "a\0b"},
        {"description": "x" * 2001},
        {"enabled": 1},
        {"enabled": "true"},
        {"unknown": 1},
    ],
)
async def test_odd_fields_get_a_clear_answer(served: Serving, fields: dict[str, Any]) -> None:
    _, person = await served.person()
    (await person.post("/pipelines", {"name": "x", "yaml_config": YAML} | fields)).expect(422)


async def test_an_administrator_sees_and_changes_every_pipeline(served: Serving) -> None:
    _, person = await served.person()
    pipeline = await served.pipeline(person)
    assert pipeline["id"] in [item["id"] for item in (await served.admin.get("/pipelines")).json["items"]]
    (await served.admin.put(f"/pipelines/{pipeline['id']}", {"enabled": False})).expect(200)
    assert (await person.get(f"/pipelines/{pipeline['id']}")).json["enabled"] is False
