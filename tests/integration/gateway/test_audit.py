"""`GET /audit`: every change is written with its user, token, address and trace, and never with a secret."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.messaging.messages import DeliveryAccepted, encode
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import PIPELINE, Serving

SECRET = "correct horse battery staple"


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def newest(served: Serving, query: str = "") -> dict[str, Any]:
    entry: dict[str, Any] = (await served.admin.get(f"/audit?limit=1{query}")).expect(200).json["items"][0]
    return entry


async def of_user(served: Serving) -> str:
    body = {"name": "x", "email": f"x-{next(served.made)}@audit.example"}
    user = (await served.admin.post("/users", body)).expect(201).json
    assert (await newest(served))["action"] == "user.created"
    (await served.admin.request("PATCH", f"/users/{user['id']}", {"disabled": True})).expect(200)
    assert (await newest(served))["details"] == {"disabled": True}
    return f"user:{user['id']} user.changed"


async def of_token(served: Serving) -> str:
    token = (await served.admin.post("/tokens", {"name": "x"})).expect(201).json
    entry = await newest(served)
    assert entry["action"] == "token.created"
    assert token["token"] not in str(entry)
    (await served.admin.delete(f"/tokens/{token['id']}")).expect(204)
    return f"token:{token['id']} token.revoked"


async def of_identity(served: Serving) -> str:
    repository = await served.repository(webhook_secret=SECRET, clone_token=SECRET)
    assert (await newest(served))["action"] == "repository.registered"
    change = {"forge_id": 777_000 + repository["id"], "webhook_secret": SECRET}
    (await served.admin.request("PATCH", f"/repositories/{repository['id']}", change)).expect(200)
    assert (await newest(served))["details"]["identity"] == {"forge_id": [None, change["forge_id"]]}
    return f"repository:{repository['id']} repository.changed"


async def of_grant(served: Serving) -> str:
    repository = await served.repository()
    user_id, _ = await served.person()
    path = f"/repositories/{repository['id']}/grants/{user_id}"
    (await served.admin.put(path, {"role": "viewer"})).expect(200)
    assert (await newest(served))["details"] == {"user_id": user_id, "role": "viewer"}
    (await served.admin.delete(path)).expect(204)
    return f"repository:{repository['id']} repository.grant_withdrawn"


async def of_enabling(served: Serving) -> str:
    body = {"name": f"audit-{next(served.made)}", "yaml_config": PIPELINE.format(repository="octo/web")}
    pipeline = (await served.admin.post("/pipelines", body)).expect(201).json
    (await served.admin.put(f"/pipelines/{pipeline['id']}", {"enabled": False})).expect(200)
    assert (await newest(served))["details"] == {"new_revision": False, "enabled": [True, False]}
    return f"pipeline:{pipeline['id']} pipeline.changed"


async def of_dead_letter(served: Serving) -> str:
    async with served.gateway.store.transaction() as work:
        letter = encode(DeliveryAccepted(delivery_ids=(2**40 + next(served.made),)))
        await work.insert_dead_letter(("q", "rejected", ""), "delivery.accepted", letter)
    letter_id = (await served.admin.get("/dead-letters?limit=1")).json["items"][0]["id"]
    (await served.admin.post(f"/dead-letters/{letter_id}/replay")).expect(200)
    return f"dead_letter:{letter_id} dead_letter.replayed"


@pytest.mark.parametrize(
    "change",
    [of_user, of_token, of_identity, of_grant, of_enabling, of_dead_letter],
    ids=lambda c: c.__name__,
)
async def test_a_change_is_written_with_its_origin(
    served: Serving, change: Callable[[Serving], Awaitable[str]]
) -> None:
    what = await change(served)
    entry = await newest(served)
    me = (await served.admin.get("/users/me")).json
    assert f"{entry['object']} {entry['action']}" == what
    assert (entry["user_id"], entry["user"], entry["address"]) == (me["id"], me["name"], "127.0.0.1")
    assert entry["token_id"] is not None
    assert len(entry["trace_id"]) == 32
    everything = await served.rows("SELECT string_agg(audit_log::text, '') FROM audit_log")
    assert SECRET not in everything[0][0]


async def test_entries_are_filtered_and_paged(served: Serving) -> None:
    user_id, person = await served.person()
    before = await newest(served)
    pipelines = [await served.pipeline(person, name) for name in ("one", "two", "three")]
    (await person.delete(f"/pipelines/{pipelines[0]['id']}")).expect(204)

    async def found(query: str) -> list[str]:
        page = (await served.admin.get(f"/audit?{query}")).expect(200).json
        return [f"{entry['object']} {entry['action']}" for entry in page["items"]]

    created = [f"pipeline:{one['id']} pipeline.created" for one in reversed(pipelines)]
    deleted = created[-1].replace("created", "deleted")
    assert await found(f"user_id={user_id}") == [deleted, *created]
    assert await found(f"user_id={user_id}&action=pipeline.created") == created
    assert await found(f"user_id={user_id}&action=pipeline") == [deleted, *created]
    assert await found(f"user_id={user_id}&action=pipe") == []
    assert await found(f"object=pipeline:{pipelines[0]['id']}") == [deleted, created[-1]]
    assert await found(f"user_id={user_id}&at_before={before['at']}") == []
    assert await found(f"user_id={user_id}&at_after={before['at']}") == [deleted, *created]
    page = (await served.admin.get(f"/audit?user_id={user_id}&limit=3")).json
    rest = (await served.admin.get(f"/audit?user_id={user_id}&limit=3&cursor={page['next_cursor']}")).json
    assert [len(page["items"]), len(rest["items"]), rest["next_cursor"]] == [3, 1, None]


async def test_only_administrators_read_it(served: Serving) -> None:
    _, person = await served.person()
    (await person.get("/audit")).expect(403)


async def test_what_the_release_before_wrote_has_no_origin(served: Serving, history: History) -> None:
    await history.connection.execute("INSERT INTO audit_log (action, object) VALUES ('old.done', 'old:1')")
    entry = await newest(served, "&object=old:1")
    assert (entry["user_id"], entry["token_id"], entry["address"], entry["trace_id"]) == (None,) * 4
