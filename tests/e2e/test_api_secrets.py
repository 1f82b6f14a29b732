"""Secrets over HTTP: of a repository, of the installation, and their encryption again."""

from tests.harness.coverage import covers
from tests.harness.installation import Towpath
from tests.harness.scenes import TRUE, Scene, scene

VALUE = "a long value of a secret"


async def repository_id(one: Scene) -> int:
    found = (await one.person.client.get("/repositories")).expect(200).json["items"]
    return int(next(row["id"] for row in found if row["full_name"] == one.repository.full_name))


@covers(
    "POST /repositories/{id}/secrets 201 409",
    "GET /repositories/{id}/secrets 200",
    "PUT /repositories/{id}/secrets/{name} 200",
    "DELETE /repositories/{id}/secrets/{name} 204",
)
async def test_a_maintainer_keeps_the_secrets_of_a_repository(towpath: Towpath) -> None:
    one = await scene(towpath, TRUE)
    client, path = one.person.client, f"/repositories/{await repository_id(one)}/secrets"
    made = (await client.post(path, {"name": "KEY", "value": VALUE})).expect(201)
    assert made.headers["location"] == f"{path}/KEY"
    (await client.post(path, {"name": "KEY", "value": VALUE})).expect(409)
    changed = (await client.put(f"{path}/KEY", {"value": f"{VALUE} again"})).expect(200)
    listed = (await client.get(path)).expect(200)
    assert [secret["name"] for secret in listed.json["items"]] == ["KEY"]
    assert VALUE.encode() not in made.raw + changed.raw + listed.raw
    (await client.delete(f"{path}/KEY")).expect(204)
    assert (await client.get(path)).expect(200).json["items"] == []


@covers(
    "POST /secrets 201 409",
    "GET /secrets 200",
    "PUT /secrets/{name} 200",
    "DELETE /secrets/{name} 204",
)
async def test_an_administrator_keeps_the_secrets_of_the_installation(towpath: Towpath) -> None:
    one = await scene(towpath, TRUE)
    name, allowed = f"KEY_{one.person.id}", [await repository_id(one)]
    made = (await towpath.admin.post("/secrets", {"name": name, "value": VALUE})).expect(201)
    assert made.headers["location"] == f"/secrets/{name}"
    (await towpath.admin.post("/secrets", {"name": name, "value": VALUE})).expect(409)
    changed = (await towpath.admin.put(f"/secrets/{name}", {"repositories": allowed})).expect(200)
    assert changed.json["repositories"] == allowed
    listed = (await towpath.admin.get("/secrets?limit=200")).expect(200)
    assert name in [secret["name"] for secret in listed.json["items"]]
    assert VALUE.encode() not in made.raw + changed.raw + listed.raw
    (await towpath.admin.delete(f"/secrets/{name}")).expect(204)


@covers("GET /encryption 200", "POST /encryption/rotate 200")
async def test_an_administrator_encrypts_all_values_again(towpath: Towpath) -> None:
    one = await scene(towpath, TRUE)
    path = f"/repositories/{await repository_id(one)}/secrets"
    (await one.person.client.post(path, {"name": "KEY", "value": VALUE})).expect(201)
    (await towpath.admin.get("/encryption")).expect(200)
    (await towpath.admin.post("/encryption/rotate", {})).expect(200)
