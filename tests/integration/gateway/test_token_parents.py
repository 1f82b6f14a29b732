"""A token never outlives the token that created it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.gateway.bootstrap import add_admin_token
from shared.settings import DatabaseSettings
from tests.harness.client import Client
from tests.integration.gateway.serving import Serving


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def child(client: Client, **fields: Any) -> dict[str, Any]:
    """Create a token with the client's token."""
    made: dict[str, Any] = (await client.post("/tokens", {"name": "child", **fields})).expect(201).json
    return made


async def own_token_id(served: Serving, client: Client, user_id: int) -> int:
    (row,) = await served.rows("SELECT id FROM api_tokens WHERE user_id = $1 AND name = 'test'", user_id)
    return int(row["id"])


def after(hours: float) -> str:
    return (datetime.now(UTC) + timedelta(hours=hours)).isoformat()


async def test_x09_a_child_ends_when_its_parent_ends_at_the_latest(served: Serving) -> None:
    _, person = await served.person()
    parent = await child(person, expires_at=after(1))
    holder = person.as_(parent["token"])
    assert (await child(holder))["expires_at"] == parent["expires_at"]
    assert (await child(holder, expires_at=parent["expires_at"]))["expires_at"] == parent["expires_at"]
    assert (await child(holder, expires_at=after(0.5)))["expires_at"] < parent["expires_at"]
    refused = (await holder.post("/tokens", {"name": "later", "expires_at": after(2)})).expect(422).json
    (fault,) = refused["errors"]
    assert (fault["path"], fault["code"]) == ("body.expires_at", "beyond_parent")


async def test_x09_an_administrators_child_for_somebody_else_is_bounded_too(served: Serving) -> None:
    user_id, _ = await served.person()
    parent = await child(served.admin, scopes=["admin"], expires_at=after(1))
    made = await child(served.admin.as_(parent["token"]), user_id=user_id)
    assert (made["user_id"], made["parent_id"]) == (user_id, parent["id"])
    assert made["expires_at"] == parent["expires_at"]
    (await served.admin.delete(f"/tokens/{parent['id']}")).expect(204)
    (await served.admin.as_(made["token"]).get("/users/me")).expect(401)


async def test_x09_revoking_a_token_revokes_all_that_come_from_it(served: Serving) -> None:
    _, person = await served.person()
    family = [await child(person)]
    for _ in range(3):
        family.append(await child(person.as_(family[-1]["token"])))
    other = await child(person)
    for made in family:
        (await person.as_(made["token"]).get("/users/me")).expect(200)
    (await person.delete(f"/tokens/{family[0]['id']}")).expect(204)
    for made in family:
        (await person.as_(made["token"]).get("/users/me")).expect(401)
    (await person.as_(other["token"]).get("/users/me")).expect(200)
    listed = {token["id"]: token["revoked_at"] for token in (await person.get("/tokens")).json["items"]}
    assert all(listed[made["id"]] for made in family)
    query = "SELECT details::text FROM audit_log WHERE action = 'token.revoked' AND object = $1"
    (row,) = await served.rows(query, f"token:{family[0]['id']}")
    assert json.loads(row["details"]) == {"children": [made["id"] for made in family[1:]]}


async def test_x09_a_token_revokes_neither_itself_nor_what_it_comes_from(served: Serving) -> None:
    user_id, person = await served.person()
    first = await child(person)
    second = await child(person.as_(first["token"]))
    last = person.as_(second["token"])
    for token_id in (second["id"], first["id"], await own_token_id(served, person, user_id)):
        assert (await last.delete(f"/tokens/{token_id}")).expect(409).json["type"].endswith(":own_token")
    for client in (person, person.as_(first["token"]), last):
        (await client.get("/users/me")).expect(200)


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now() - interval '1 second'"])
async def test_x09_a_token_that_ended_elsewhere_makes_none(served: Serving, change: str) -> None:
    """The gateway's cache still has the caller for a few seconds, as after a change by another gateway."""
    _, person = await served.person()
    parent = await child(person)
    holder = person.as_(parent["token"])
    grandchild = await child(holder)
    (await person.as_(grandchild["token"]).get("/users/me")).expect(200)
    await served.rows(f"UPDATE api_tokens SET {change} WHERE id = $1", parent["id"])
    for client in (holder, person.as_(grandchild["token"])):
        (await client.post("/tokens", {"name": "too late"})).expect(401)
    assert await served.rows("SELECT id FROM api_tokens WHERE name = 'too late'") == []


async def test_x09_a_disabled_users_token_makes_none(served: Serving) -> None:
    user_id, person = await served.person()
    (await person.get("/users/me")).expect(200)
    await served.rows("UPDATE users SET disabled_at = now() WHERE id = $1", user_id)
    refused = await person.post("/tokens", {"name": "too late"})
    assert refused.status in {401, 404}


async def test_x09_of_a_child_and_a_revocation_at_once_no_child_survives(served: Serving) -> None:
    _, person = await served.person()
    for _ in range(5):
        first = await child(person)
        second = await child(person.as_(first["token"]))
        holder = person.as_(second["token"])
        answers = await asyncio.gather(
            *(holder.post("/tokens", {"name": "racing"}) for _ in range(4)),
            person.delete(f"/tokens/{first['id']}"),
            *(holder.post("/tokens", {"name": "racing"}) for _ in range(4)),
        )
        assert {answer.status for answer in answers} <= {201, 204, 401}
        family = [first["id"], second["id"]]
        query = "SELECT id FROM api_tokens WHERE parent_id = ANY($1::bigint[]) AND revoked_at IS NULL"
        assert await served.rows(query, family) == []


async def test_x09_the_server_makes_an_administrators_token_that_comes_from_no_other(served: Serving) -> None:
    settings = DatabaseSettings(database_url=served.gateway.settings.database_url)
    token = await add_admin_token(settings, "admin@example.org")
    assert (await served.admin.as_(token).get("/users/me")).expect(200).json["is_admin"] is True
    (row,) = await served.rows("SELECT parent_id, expires_at FROM api_tokens ORDER BY id DESC LIMIT 1")
    assert tuple(row) == (None, None)
    with pytest.raises(ValueError, match="no active administrator"):
        await add_admin_token(settings, "nobody@example.org")
