"""Users and tokens over HTTP: who may create them, what they may access, and when they end."""

import secrets
from datetime import UTC, datetime, timedelta

from shared.crypto import new_token
from tests.harness.client import Client
from tests.harness.coverage import covers
from tests.harness.installation import Towpath
from tests.harness.scenes import Document
from tests.harness.waiting import until


def somebody(**fields: object) -> Document:
    name = secrets.token_hex(5)
    return {"name": name, "email": f"{name}@example.org", **fields}


async def works(client: Client) -> bool:
    return (await client.get("/users/me")).status == 200


# ---------------------------------------------------------------- users


@covers("POST /users 201 409 422", "GET /users/{id} 200 404", "GET /users 200")
async def test_an_administrator_adds_users(towpath: Towpath) -> None:
    wanted = somebody()
    answer = (await towpath.admin.post("/users", {**wanted, "email": wanted["email"].upper()})).expect(201)
    user = answer.json
    assert (user["name"], user["email"], user["is_admin"], user["disabled_at"]) == (
        wanted["name"],
        wanted["email"],
        False,
        None,
    )
    assert answer.headers["location"] == f"/users/{user['id']}"
    assert (await towpath.admin.get(f"/users/{user['id']}")).expect(200).json == user
    assert (await towpath.admin.get("/users?limit=200")).expect(200).json["items"].count(user) == 1

    (await towpath.admin.post("/users", wanted)).expect(409)
    for bad in (
        {"name": ""},
        {"email": "nobody"},
        {"email": "a b@example.org"},
        {"email": f"{'a' * 250}@example.org"},
        {"is_admin": "yes"},
    ):
        (await towpath.admin.post("/users", somebody(**bad))).expect(422)
    (await towpath.admin.get(f"/users/{2**62}")).expect(404)


@covers("PATCH /users/{id} 200")
async def test_a_user_is_changed_field_by_field(towpath: Towpath) -> None:
    user = (await towpath.admin.post("/users", somebody())).expect(201).json
    path = f"/users/{user['id']}"
    assert (await towpath.admin.request("PATCH", path, {"name": "Mona"})).expect(200).json == {
        **user,
        "name": "Mona",
    }
    assert (await towpath.admin.request("PATCH", path, {"is_admin": True})).expect(200).json == {
        **user,
        "name": "Mona",
        "is_admin": True,
    }
    assert (await towpath.admin.request("PATCH", path, {})).expect(200).json == {
        **user,
        "name": "Mona",
        "is_admin": True,
    }


@covers("GET /users/me 200", "DELETE /users/{id} 204", "PATCH /users/{id} 200", "GET /users/me 401")
async def test_the_tokens_of_a_disabled_user_are_refused_until_he_is_enabled(towpath: Towpath) -> None:
    person = await towpath.person()
    assert (await person.client.get("/users/me")).expect(200).json["id"] == person.id

    (await towpath.admin.delete(f"/users/{person.id}")).expect(204)
    (await person.client.get("/users/me")).expect(401)
    assert (await towpath.admin.get(f"/users/{person.id}")).expect(200).json["disabled_at"] is not None
    (await towpath.admin.post("/tokens", {"name": "x", "user_id": person.id})).expect(404)

    (await towpath.admin.request("PATCH", f"/users/{person.id}", {"disabled": False})).expect(200)
    assert await works(person.client)


@covers("PATCH /users/{id} 409", "DELETE /users/{id} 409", "DELETE /tokens/{id} 409")
async def test_nobody_locks_himself_out(towpath: Towpath) -> None:
    admin = towpath.admin
    me = (await admin.get("/users/me")).expect(200).json["id"]
    [mine] = [
        token
        for token in (await admin.get("/tokens?limit=200")).expect(200).json["items"]
        if token["name"] == "bootstrap"
    ]
    (await admin.delete(f"/users/{me}")).expect(409)
    (await admin.request("PATCH", f"/users/{me}", {"is_admin": False})).expect(409)
    (await admin.request("PATCH", f"/users/{me}", {"disabled": True})).expect(409)
    (await admin.delete(f"/tokens/{mine['id']}")).expect(409)
    assert await works(admin)


@covers(
    "GET /users 403",
    "POST /users 403",
    "GET /users/{id} 403",
    "PATCH /users/{id} 403",
    "DELETE /users/{id} 403",
)
async def test_users_are_for_administrators_with_a_token_for_it(towpath: Towpath) -> None:
    person = await towpath.person()
    less = (
        (await towpath.admin.post("/tokens", {"name": "less", "scopes": ["write"]})).expect(201).json["token"]
    )
    for client in (person.client, towpath.admin.as_(less)):
        (await client.get("/users")).expect(403)
        (await client.get(f"/users/{person.id}")).expect(403)
        (await client.post("/users", somebody())).expect(403)
        (await client.request("PATCH", f"/users/{person.id}", {"is_admin": True})).expect(403)
        (await client.delete(f"/users/{person.id}")).expect(403)


# ---------------------------------------------------------------- tokens


@covers("POST /tokens 201", "GET /tokens 200", "DELETE /tokens/{id} 204", "GET /users/me 200 401")
async def test_a_token_is_shown_once_and_works_until_it_is_revoked(towpath: Towpath) -> None:
    person = await towpath.person()
    answer = (await person.client.post("/tokens", {"name": "laptop"})).expect(201)
    made = answer.json
    client = towpath.admin.as_(made["token"])
    assert answer.headers["cache-control"] == "no-store"
    assert made["scopes"] == ["read", "write"]
    assert await works(client)

    listed = (await person.client.get("/tokens")).expect(200)
    assert made["token"] not in listed.text
    assert [token["name"] for token in listed.json["items"]] == ["laptop", "test"]
    assert made["token"].startswith(listed.json["items"][0]["prefix"])

    (await person.client.delete(f"/tokens/{made['id']}")).expect(204)
    (await client.get("/users/me")).expect(401)
    (await person.client.delete(f"/tokens/{made['id']}")).expect(204)
    assert (await person.client.get("/tokens")).expect(200).json["items"][0]["revoked_at"] is not None


@covers("POST /tokens 403 404 422", "GET /tokens 403", "GET /tokens 200")
async def test_a_token_reaches_no_further_than_its_maker_and_its_owner(towpath: Towpath) -> None:
    person, another = await towpath.person(), await towpath.person()
    for refused in ({"scopes": ["admin"]}, {"user_id": another.id}):
        (await person.client.post("/tokens", {"name": "x", **refused})).expect(403)
    (await person.client.get(f"/tokens?user_id={another.id}")).expect(403)
    (await towpath.admin.post("/tokens", {"name": "x", "scopes": ["admin"], "user_id": person.id})).expect(
        403
    )
    (await towpath.admin.post("/tokens", {"name": "x", "user_id": 2**62})).expect(404)
    bad: Document
    for bad in (
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": ["read"] * 4},
        {"expires_at": "2099-01-01T00:00:00"},
        {"expires_at": "2099-02-30T00:00:00Z"},
    ):
        (await person.client.post("/tokens", {"name": "x", **bad})).expect(422)

    theirs = (await towpath.admin.get(f"/tokens?user_id={person.id}")).expect(200).json["items"]
    assert [(token["user_id"], token["name"]) for token in theirs] == [(person.id, "test")]


@covers("DELETE /tokens/{id} 403 404 204")
async def test_a_token_is_revoked_by_its_owner_or_an_administrator(towpath: Towpath) -> None:
    person, another = await towpath.person(), await towpath.person()
    made = (await person.client.post("/tokens", {"name": "x", "scopes": ["read"]})).expect(201).json
    (await another.client.delete(f"/tokens/{made['id']}")).expect(404)
    (await towpath.admin.as_(made["token"]).delete(f"/tokens/{made['id']}")).expect(403)
    assert await works(towpath.admin.as_(made["token"]))
    (await towpath.admin.delete(f"/tokens/{made['id']}")).expect(204)
    assert not await works(towpath.admin.as_(made["token"]))


async def test_a_token_works_until_it_expires(towpath: Towpath) -> None:
    person = await towpath.person()
    now = datetime.now(UTC)
    first_of_all, last_of_all = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    for expires_at, valid in (
        (now + timedelta(hours=1), True),
        (now - timedelta(seconds=1), False),
        (first_of_all, False),
        (last_of_all, True),
    ):
        made = (
            (await person.client.post("/tokens", {"name": "short", "expires_at": expires_at.isoformat()}))
            .expect(201)
            .json
        )
        assert datetime.fromisoformat(made["expires_at"]) == expires_at
        assert await works(towpath.admin.as_(made["token"])) is valid
    assert len((await person.client.get("/tokens")).expect(200).json["items"]) == 5


async def test_no_broken_token_is_looked_up(towpath: Towpath) -> None:
    """Other tests cover revoked and expired tokens.

    The wrong tokens here differ from a good one in a character, the length or the case, or are unknown.
    """
    person = await towpath.person()
    good = person.client.token
    assert good is not None
    swapped = good[:-1] + ("A" if good[-1] != "A" else "B")
    unknown = new_token()
    for wrong in (good[:-1], good + "a", swapped, good.swapcase(), good[3:], unknown, f"tp_{'x' * 6000}"):
        answer = (await towpath.admin.as_(wrong).get("/users/me")).expect(401)
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert (
        await towpath.admin.as_(None).get("/users/me", headers={"Authorization": f"Basic {good}"})
    ).status == 401
    assert (
        await towpath.admin.as_(None).get("/users/me", headers={"Authorization": f"bearer {good}"})
    ).status == 200


async def test_a_token_of_a_megabyte_is_refused(towpath: Towpath) -> None:
    problem = (await towpath.admin.as_(f"tp_{'x' * (1 << 20)}").get("/users/me")).expect(401)
    assert problem.headers["content-type"] == "application/problem+json"
    assert await works(towpath.admin)


async def test_the_last_use_of_a_token_is_known(towpath: Towpath) -> None:
    person = await towpath.person()
    before = datetime.now(UTC) - timedelta(minutes=1)

    async def used() -> str | None:
        token = (await person.client.get("/tokens")).expect(200).json["items"][0]
        return str(token["last_used_at"]) if token["last_used_at"] else None

    assert datetime.fromisoformat(await until(used, within=5, what="the last use")) > before


@covers("POST /sign-in-links 201")
async def test_a_link_signs_a_browser_in(towpath: Towpath) -> None:
    person = await towpath.person()
    link = (await person.client.post("/sign-in-links", {"path": "/ui/runs"})).expect(201).json
    assert link["url"].startswith(f"{towpath.url}/ui/link#")
    assert datetime.fromisoformat(link["expires_at"]) > datetime.now(UTC)
