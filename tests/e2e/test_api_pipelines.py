"""Pipelines over HTTP.

A change makes a revision, an invalid pipeline is refused with every error and its place, and a deleted
pipeline keeps its history.
"""

import pytest

from tests.harness.coverage import covers
from tests.harness.installation import Towpath, one_job
from tests.harness.scenes import TRUE, Document, document, job, scene

TWO_MISTAKES = """\
version: 1
repository: octo/web
on: { push: {} }
jobs:
  test:
    servces:
      db: { image: postgres }
    steps:
      - run: "true"
  deploy:
    needs: [tset]
    steps:
      - run: "true"
"""


async def names(towpath: Towpath, person_token: str | None, query: str = "") -> list[str]:
    found = (
        (await towpath.admin.as_(person_token).get(f"/pipelines?limit=200{query}")).expect(200).json["items"]
    )
    return [pipeline["name"] for pipeline in found]


@covers("POST /pipelines 201", "GET /pipelines/{id} 200", "GET /pipelines 200")
async def test_a_stored_pipeline_is_read_as_it_was_written(towpath: Towpath) -> None:
    person = await towpath.person()
    text = one_job(await towpath.repository(person), "true") + "# ünïcode 🚢\n"
    answer = (
        await person.client.post(
            "/pipelines", {"name": "web ci", "description": "tests", "yaml_config": text}
        )
    ).expect(201)
    stored = answer.json

    assert answer.headers["location"] == f"/pipelines/{stored['id']}"
    read = (await person.client.get(f"/pipelines/{stored['id']}")).expect(200)
    assert read.headers["etag"] == answer.headers["etag"]
    assert read.json == stored
    assert {
        name: stored[name]
        for name in ("name", "description", "yaml_config", "enabled", "revision", "created_by")
    } == {
        "name": "web ci",
        "description": "tests",
        "yaml_config": text,
        "enabled": True,
        "revision": 1,
        "created_by": person.id,
    }
    assert stored["created_at"].endswith("Z")
    listed = (await person.client.get("/pipelines")).expect(200).json["items"]
    assert [pipeline["id"] for pipeline in listed] == [stored["id"]]
    assert "yaml_config" not in listed[0]


@covers("POST /pipelines 422", "PUT /pipelines/{id} 422", "POST /pipelines/validate 200")
async def test_an_invalid_pipeline_is_refused_with_every_error_and_its_place(towpath: Towpath) -> None:
    one = await scene(towpath)
    refused = [
        (await one.person.client.post("/pipelines", {"name": "bad", "yaml_config": TWO_MISTAKES})).expect(
            422
        ),
        (
            await one.person.client.put(f"/pipelines/{one.pipeline['id']}", {"yaml_config": TWO_MISTAKES})
        ).expect(422),
    ]
    validated = (
        (await one.person.client.post("/pipelines/validate", {"yaml_config": TWO_MISTAKES})).expect(200).json
    )

    assert validated["valid"] is False
    for errors in [validated["errors"], *(answer.json["errors"] for answer in refused)]:
        places = [(error["path"], error["line"], error["column"]) for error in errors]
        assert places == [("jobs.test.servces", 6, 5), ("jobs.deploy.needs[0]", 11, 13)]
        assert "services" in errors[0]["message"] + (errors[0]["hint"] or "")
        assert '"test"' in errors[1]["message"]
    assert (await one.person.client.get(f"/pipelines/{one.pipeline['id']}")).json == one.pipeline
    assert await names(towpath, one.person.client.token) == [one.pipeline["name"]]


async def test_a_valid_pipeline_validates_without_being_stored(towpath: Towpath) -> None:
    person = await towpath.person()
    answer = await person.client.post("/pipelines/validate", {"yaml_config": document("octo/web", TRUE)})
    found = answer.expect(200).json
    assert (found["valid"], found["errors"]) == (True, [])
    assert [warning["code"] for warning in found["warnings"]] == ["no_such_repository"]
    assert await names(towpath, person.client.token) == []


HOSTILE = {
    "nothing": "",
    "blank": "\n\n",
    "a scalar": "x",
    "a tag": "!!python/object/apply:os.system ['true']",
    "nested": "[" * 30_000,
    "nested keys": "? " * 30_000,
    "an alias bomb": "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"b{n}: &b{n} [{', '.join(['*a' if n == 0 else f'*b{n - 1}'] * 10)}]\n" for n in range(9)),
    "a doubled key": "version: 1\nversion: 1\n",
    "two documents": "version: 1\n---\nversion: 1\n",
    "a long number": "version: " + "9" * 5000,
    "too large": "# " + "x" * (256 * 1024),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
async def test_hostile_yaml_gets_a_clear_error_with_its_line(towpath: Towpath, text: str) -> None:
    person = await towpath.person()
    errors = (
        (await person.client.post("/pipelines", {"name": "bad", "yaml_config": text}))
        .expect(422)
        .json["errors"]
    )
    assert errors
    assert all(error["line"] >= 1 and error["column"] >= 1 and error["message"] for error in errors)
    assert (await towpath.admin.as_(None).get("/healthz")).status == 200


BAD_FIELDS: dict[str, Document] = {
    "body.name": {"name": "", "yaml_config": "x"},
    "body.description": {"name": "x", "description": "x" * 2001, "yaml_config": "x"},
    "body.yaml_config": {"name": "x"},
    "body.enabled": {"name": "x", "yaml_config": "x", "enabled": "yes"},
}


@pytest.mark.parametrize(("path", "body"), BAD_FIELDS.items(), ids=BAD_FIELDS.keys())
async def test_a_field_of_the_wrong_kind_is_named(towpath: Towpath, path: str, body: Document) -> None:
    errors = (await towpath.admin.post("/pipelines", body)).expect(422).json["errors"]
    assert [error["path"] for error in errors] == [path]


async def test_text_that_postgres_cannot_store_is_refused(towpath: Towpath) -> None:
    for raw in (rb'{"name": "a\u0000b", "yaml_config": "x"}', rb'{"name": "\ud800", "yaml_config": "x"}'):
        (await towpath.admin.post("/pipelines", raw=raw)).expect(422)


@covers("POST /pipelines 409", "PUT /pipelines/{id} 409 200")
async def test_a_name_is_its_owners_alone_and_once(towpath: Towpath) -> None:
    one, another = await scene(towpath), await scene(towpath)
    client, taken = one.person.client, one.pipeline["name"]
    text = one.pipeline["yaml_config"]
    second = (await client.post("/pipelines", {"name": "second", "yaml_config": text})).expect(201).json

    (await client.post("/pipelines", {"name": taken, "yaml_config": text})).expect(409)
    (await client.put(f"/pipelines/{second['id']}", {"name": taken})).expect(409)
    (await another.person.client.post("/pipelines", {"name": taken, "yaml_config": text})).expect(201)
    (await client.put(f"/pipelines/{second['id']}", {"name": "third"})).expect(200)
    assert await names(towpath, client.token) == ["third", taken]
    assert await names(towpath, client.token, "&name=third") == ["third"]


@covers("GET /pipelines/{id}/revisions 200")
async def test_only_another_yaml_makes_a_revision(towpath: Towpath) -> None:
    one = await scene(towpath)
    path, client, first = f"/pipelines/{one.pipeline['id']}", one.person.client, one.pipeline["yaml_config"]
    assert (await client.put(path, {"description": "new"})).expect(200).json["revision"] == 1
    assert (await client.put(path, {"yaml_config": first})).expect(200).json["revision"] == 1
    second = document(one.repository.full_name, {"other": job("true")})
    changed = (await client.put(path, {"yaml_config": second})).expect(200).json

    assert (changed["revision"], changed["yaml_config"], changed["description"]) == (2, second, "new")
    revisions = (await client.get(f"{path}/revisions")).expect(200).json["items"]
    assert [(revision["number"], revision["yaml_config"]) for revision in revisions] == [
        (2, second),
        (1, first),
    ]
    page = (await client.get(f"{path}/revisions?limit=1")).expect(200).json
    rest = (await client.get(f"{path}/revisions?limit=1&cursor={page['next_cursor']}")).expect(200).json
    assert [revision["number"] for revision in page["items"] + rest["items"]] == [2, 1]
    assert rest["next_cursor"] is None


@covers("PUT /pipelines/{id} 200 412", "DELETE /pipelines/{id} 204 412")
async def test_a_change_based_on_an_old_version_is_refused(towpath: Towpath) -> None:
    one = await scene(towpath)
    path, client = f"/pipelines/{one.pipeline['id']}", one.person.client
    old = (await client.get(path)).headers["etag"]
    new = (
        (await client.put(path, {"description": "1"}, headers={"If-Match": old})).expect(200).headers["etag"]
    )
    assert new != old

    stale = (await client.put(path, {"description": "2"}, headers={"If-Match": old})).expect(412)
    assert stale.headers["etag"] == new
    (await client.delete(path, headers={"If-Match": old})).expect(412)
    (await client.put(path, {"description": "3"}, headers={"If-Match": "W/" + new})).expect(412)
    (await client.put(path, {"description": "4"}, headers={"If-Match": f"{old}, {new}"})).expect(200)
    (await client.put(path, {"description": "5"}, headers={"If-Match": "*"})).expect(200)
    assert (await client.get(path)).json["description"] == "5"
    (await client.delete(path, headers={"If-Match": "*"})).expect(204)


@covers(
    "DELETE /pipelines/{id} 204 404",
    "GET /pipelines/{id} 404",
    "PUT /pipelines/{id} 404",
    "GET /runs/{id} 200",
    "GET /events/{id} 200",
)
async def test_a_deleted_pipeline_starts_nothing_more_and_keeps_its_history(towpath: Towpath) -> None:
    one = await scene(towpath)
    client, path = one.person.client, f"/pipelines/{one.pipeline['id']}"
    before = await one.started()
    (await client.delete(path)).expect(204)

    for answer in (
        await client.get(path),
        await client.put(path, {"name": "x"}),
        await client.delete(path),
        await client.get(f"{path}/revisions"),
    ):
        answer.expect(404)
    (
        await client.post(
            "/pipelines", {"name": one.pipeline["name"], "yaml_config": document("octo/another", TRUE)}
        )
    ).expect(201)
    assert (await client.get(f"/runs/{before['id']}")).expect(200).json["pipeline"] == one.pipeline["name"]
    decisions = (await client.get(f"/events/{before['event_id']}")).expect(200).json["decisions"]
    assert [decision["run_id"] for decision in decisions] == [before["id"]]

    witness = await towpath.pipeline(one.person, one.pipeline["yaml_config"])
    await one.push()
    await towpath.run_of(witness)
    assert [run["id"] for run in await towpath.runs(one.pipeline)] == [before["id"]]


async def test_a_disabled_pipeline_starts_nothing_until_it_is_enabled(towpath: Towpath) -> None:
    one = await scene(towpath)
    witness = await towpath.pipeline(one.person, one.pipeline["yaml_config"])
    path = f"/pipelines/{one.pipeline['id']}"
    (await one.person.client.put(path, {"enabled": False})).expect(200)
    await one.push()
    await towpath.run_of(witness)
    assert await towpath.runs(one.pipeline) == []

    (await one.person.client.put(path, {"enabled": True})).expect(200)
    await one.started()


async def test_a_run_keeps_the_revision_that_it_started_with(towpath: Towpath) -> None:
    one = await scene(towpath)
    first = await one.started()
    (
        await one.person.client.put(
            f"/pipelines/{one.pipeline['id']}",
            {"yaml_config": document(one.repository.full_name, {"other": job("true")})},
        )
    ).expect(200)
    second = await one.started()

    assert (first["revision"], [found["name"] for found in first["jobs"]]) == (1, ["only"])
    assert (second["revision"], [found["name"] for found in second["jobs"]]) == (2, ["other"])
    assert (await one.run(first["id"]))["revision"] == 1
    assert (first["number"], second["number"]) == (1, 2)
