"""Secrets of repositories and of the installation: who sets them, what is stored, and what comes back."""

import asyncio
from typing import Any

import pytest

from tests.harness.client import Client
from tests.integration.gateway.serving import Serving

VALUE = "hunter2-and-more"


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def maintained(served: Serving) -> tuple[int, int, Client]:
    """Return a repository, a maintainer of it, and the maintainer's client."""
    user_id, person = await served.person()
    repository = await served.repository()
    await grant(served, repository["id"], user_id, "maintainer")
    return repository["id"], user_id, person


async def grant(served: Serving, repository_id: int, user_id: int, role: str) -> None:
    path = f"/repositories/{repository_id}/grants/{user_id}"
    (await served.admin.put(path, {"role": role})).expect(200)


async def test_a_maintainer_sets_a_secret_whose_value_never_comes_back(served: Serving) -> None:
    repository, user_id, person = await maintained(served)
    path = f"/repositories/{repository}/secrets"
    made = (await person.post(path, {"name": "DEPLOY_KEY", "value": VALUE})).expect(201)
    assert made.headers["location"] == f"{path}/DEPLOY_KEY"
    changed = (await person.put(f"{path}/DEPLOY_KEY", {"value": VALUE + "2"})).expect(200)
    listed = (await person.get(path)).expect(200)
    (shown,) = listed.json["items"]
    assert (shown["name"], shown["created_by"], shown["updated_by"]) == ("DEPLOY_KEY", user_id, user_id)
    assert VALUE.encode() not in made.raw + changed.raw + listed.raw
    (await person.post(path, {"name": "DEPLOY_KEY", "value": VALUE})).expect(409)
    (await person.delete(f"{path}/DEPLOY_KEY")).expect(204)
    (await person.delete(f"{path}/DEPLOY_KEY")).expect(404)
    assert (await person.get(path)).json["items"] == []


async def test_values_are_encrypted_versions_bound_to_their_rows(served: Serving) -> None:
    repository, _, person = await maintained(served)
    for value in (VALUE, VALUE + "2"):
        (await person.put(f"/repositories/{repository}/secrets/KEY", {"value": value})).expect(200)
    rows = await served.rows(
        "SELECT v.id, v.value, s.version_id FROM secret_versions v JOIN secrets s ON s.id = v.secret_id "
        "WHERE s.repository_id = $1 ORDER BY v.id",
        repository,
    )
    keyring = served.gateway.keyring
    assert keyring is not None
    found = [
        keyring.decrypt(row["value"], table="secret_versions", column="value", row=row["id"]) for row in rows
    ]
    assert found == [VALUE.encode(), VALUE.encode() + b"2"]
    assert {row["version_id"] for row in rows} == {rows[1]["id"]}


async def test_each_change_is_in_the_audit_log_without_the_value(served: Serving) -> None:
    repository, _, person = await maintained(served)
    path = f"/repositories/{repository}/secrets/KEY"
    (await person.put(path, {"value": VALUE})).expect(200)
    (await person.put(path, {"value": VALUE})).expect(200)
    (await person.delete(path)).expect(204)
    rows = await served.rows(
        "SELECT action, details::text FROM audit_log WHERE object = $1 AND action LIKE 'secret.%' "
        "ORDER BY id",
        f"repository:{repository}",
    )
    assert [row["action"] for row in rows] == ["secret.created", "secret.changed", "secret.deleted"]
    assert VALUE not in str(rows)


async def test_viewers_are_refused_and_strangers_see_nothing(served: Serving) -> None:
    repository, _, person = await maintained(served)
    path = f"/repositories/{repository}/secrets"
    (await person.post(path, {"name": "KEY", "value": VALUE})).expect(201)
    viewer_id, viewer = await served.person()
    _, stranger = await served.person()
    await grant(served, repository, viewer_id, "viewer")
    for client, status in ((viewer, 403), (stranger, 404)):
        (await client.get(path)).expect(status)
        (await client.post(path, {"name": "OTHER", "value": VALUE})).expect(status)
        (await client.put(f"{path}/KEY", {"value": VALUE})).expect(status)
        (await client.delete(f"{path}/KEY")).expect(status)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("short", "too_short"),
        ("one\ntwo\nthree", "not_maskable"),
        ("\n\n\n\n\n\n\n", "not_maskable"),
        ("é" * 40_000, "too_large"),
        ("nul\0nul", "value_error"),
    ],
)
async def test_a_value_that_cannot_be_kept_is_refused(served: Serving, value: str, code: str) -> None:
    repository, _, person = await maintained(served)
    answer = await person.post(f"/repositories/{repository}/secrets", {"name": "KEY", "value": value})
    answer.expect(422)
    assert (answer.json["errors"][0]["path"], answer.json["errors"][0]["code"]) == ("body.value", code)


@pytest.mark.parametrize("name", ["lower", "A-B", "1A", "TOWPATH_X", "TOWPATH", "PATH", "UID", "A" * 129])
async def test_a_name_that_no_variable_may_have_is_refused(served: Serving, name: str) -> None:
    repository, _, person = await maintained(served)
    path = f"/repositories/{repository}/secrets"
    (await person.post(path, {"name": name, "value": VALUE})).expect(422)
    (await person.put(f"{path}/{name}", {"value": VALUE})).expect(422)


async def test_a_repository_has_a_bounded_number_of_secrets(served: Serving) -> None:
    repository, _, person = await maintained(served)
    limit = served.gateway.settings.secrets_per_repository
    path = f"/repositories/{repository}/secrets"
    await served.rows(
        "INSERT INTO secrets (repository_id, name, created_by, updated_by) "
        "SELECT $1, 'X' || n, 1, 1 FROM generate_series(2, $2::integer) n RETURNING id",
        repository,
        limit,
    )
    answers = await asyncio.gather(
        *(person.put(f"{path}/NEW_{n}", {"value": VALUE}) for n in range(3)), return_exceptions=False
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409]
    created = next(n for n, answer in enumerate(answers) if answer.status == 200)
    (await person.put(f"{path}/NEW_{created}", {"value": VALUE})).expect(200)


async def test_administrators_share_secrets_with_named_repositories(served: Serving) -> None:
    _, person = await served.person()
    repository = (await served.repository())["id"]
    body = {"name": "REGISTRY", "value": VALUE, "repositories": [repository]}
    (await person.post("/secrets", body)).expect(403)
    (await served.admin.post("/secrets", {**body, "repositories": [999_999]})).expect(422)
    made: Any = (await served.admin.post("/secrets", body)).expect(201).json
    assert made["repositories"] == [repository]
    changed = (await served.admin.put("/secrets/REGISTRY", {"repositories": []})).expect(200)
    assert changed.json["repositories"] == []
    (await served.admin.put("/secrets/NOTHING", {"value": VALUE})).expect(404)
    assert "REGISTRY" in [row["name"] for row in (await served.admin.get("/secrets")).json["items"]]
    (await served.admin.delete("/secrets/REGISTRY")).expect(204)


async def test_versions_stay_while_an_attempt_needs_them(served: Serving) -> None:
    repository, _, person = await maintained(served)
    path = f"/repositories/{repository}/secrets/KEY"
    for value in (VALUE, VALUE + "2"):
        (await person.put(path, {"value": value})).expect(200)
    (await person.delete(path)).expect(204)
    query = "SELECT v.id FROM secret_versions v JOIN secrets s ON s.id = v.secret_id WHERE repository_id = $1"
    async with served.gateway.store.transaction() as work:
        await work.delete_unused_versions(3600, 1000)
    assert len(await served.rows(query, repository)) == 2
    async with served.gateway.store.transaction() as work:
        await work.delete_unused_versions(-1, 1000)
    assert await served.rows(query, repository) == []
