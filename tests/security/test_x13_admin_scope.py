"""X13: an administrator's token without the scope `admin`."""

import pytest

from tests.harness.client import Client
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import PIPELINE, Serving


async def token_of_admin(served: Serving, *scopes: str) -> Client:
    made = (await served.admin.post("/tokens", {"name": "less", "scopes": list(scopes)})).expect(201).json
    return served.admin.as_(made["token"])


@pytest.mark.parametrize("scope", ["read", "write"])
async def test_x13_it_reaches_only_what_the_user_owns_or_was_granted(served: Serving, scope: str) -> None:
    _, person = await served.person()
    pipeline = await served.pipeline(person)
    less = await token_of_admin(served, scope)
    for path in (f"/pipelines/{pipeline['id']}", f"/pipelines/{pipeline['id']}/revisions"):
        (await less.get(path)).expect(404)
        (await served.admin.get(path)).expect(200)
    assert (await less.get("/pipelines")).json["items"] == []
    own = await served.pipeline(served.admin, name="own")
    (await less.get(f"/pipelines/{own['id']}")).expect(200)
    assert [item["id"] for item in (await less.get("/pipelines")).json["items"]] == [own["id"]]
    assert {item["id"] for item in (await served.admin.get("/pipelines")).json["items"]} == {
        own["id"],
        pipeline["id"],
    }


async def test_x13_it_changes_nothing_of_others(served: Serving) -> None:
    _, person = await served.person()
    pipeline, repository = await served.pipeline(person), await served.repository()
    me = (await served.admin.get("/users/me")).json["id"]
    await served.admin.delete(f"/repositories/{repository['id']}/grants/{me}")
    less = await token_of_admin(served, "write")
    path = f"/pipelines/{pipeline['id']}"
    (await less.put(path, {"yaml_config": PIPELINE.format(repository="a/b")})).expect(404)
    (await less.delete(path)).expect(404)
    grants = f"/repositories/{repository['id']}/grants"
    (await less.get(grants)).expect(404)
    (await less.put(f"{grants}/{me}", {"role": "maintainer"})).expect(404)
    (await less.get("/users")).expect(403)
    (await served.admin.get(grants)).expect(200)


async def test_x13_it_sees_no_runs_of_others_and_follows_none(served: Serving) -> None:
    _, person = await served.person()
    pipeline, repository = await served.pipeline(person), await served.repository()
    me = (await served.admin.get("/users/me")).json["id"]
    await served.admin.delete(f"/repositories/{repository['id']}/grants/{me}")
    history = await History.of(served.database_url)
    run_id = await history.run(pipeline, repository["id"])
    await history.connection.close()
    less = await token_of_admin(served, "read")
    (await less.get(f"/runs/{run_id}")).expect(404)
    (await served.admin.get(f"/runs/{run_id}")).expect(200)
    tokens = {item["name"]: item["id"] for item in (await served.admin.get("/tokens")).json["items"]}
    async with served.gateway.store.reading() as work:
        allowed = await work.viewers_allowed([(token_id, run_id) for token_id in tokens.values()])
    assert allowed == {(tokens["bootstrap"], run_id)}
