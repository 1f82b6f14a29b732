"""Rules for every route in /openapi.json.

Only webhooks and pages work without a token, every error is clear, and an end-to-end test sees every status.
"""

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.harness.client import Answer, Client
from tests.harness.coverage import CLAIMS
from tests.harness.installation import Person, Towpath
from tests.harness.scenes import TRUE, Document, document, job, scene

NOBODYS = {
    "id": 2**62,
    "user_id": 2**62,
    "delivery_id": "00000000-0000-0000-0000-000000000000",
    "name": "NOBODYS",
}

YAML = document("octo/none", TRUE)
BODIES: dict[str, Document] = {
    "POST /pipelines": {"name": "x", "yaml_config": YAML},
    "POST /pipelines/validate": {"yaml_config": YAML},
    "POST /pipelines/preview": {"yaml_config": YAML},
    "POST /pipelines/{id}/preview": {"yaml_config": YAML},
    "PUT /pipelines/{id}": {"description": "mine now"},
    "POST /pipelines/{id}/runs": {"branch": "main"},
    "POST /runs/{id}/retry": {},
    "POST /runs/{id}/cancel": {},
    "POST /runs/{id}/approve": {},
    "POST /repositories": {"full_name": "octo/none", "clone_url": "https://github.example/none.git"},
    "PATCH /repositories/{id}": {"clone_url": "https://github.example/mine.git"},
    "PUT /repositories/{id}/grants/{user_id}": {"role": "maintainer"},
    "POST /repositories/{id}/secrets": {"name": "KEY", "value": "a long value"},
    "PUT /repositories/{id}/secrets/{name}": {"value": "a long value"},
    "POST /secrets": {"name": "KEY", "value": "a long value"},
    "PUT /secrets/{name}": {"value": "a long value"},
    "POST /encryption/rotate": {},
    "POST /users": {"name": "x", "email": "x@example.org"},
    "PATCH /users/{id}": {"name": "mine"},
    "POST /tokens": {"name": "x"},
    "POST /sign-in-links": {},
}
"""A valid body for every route that takes one."""

SEEN_BY_ALL = {400, 401, 403, 404, 413, 415, 422}
"""Statuses that tests of this module see for every route that has them, without `covers`.

The status 403 is seen for every route that writes. Every token may read.
"""

NOT_SEEN: dict[tuple[str, int], str] = {
    ("", 503): "Postgres or RabbitMQ are away: tests/e2e/test_outages.py",
    ("", 408): "a slow body: the same reading of bodies for every route, seen with webhooks",
    ("/logs", 429): "one user's 51st stream: tests/security/test_x08_streams.py",
    ("/approve", 202): "the same waiting for the scheduler, seen with /cancel",
    ("PUT /repositories/{id}/secrets/{name}", 409): "a repository's 101st secret: tests/integration/gateway",
    ("POST /tokens", 409): "a user's 101st token: tests/security/test_x05_quotas.py",
    ("GET /users/me", 404): "users are never deleted",
    ("/webhooks/", 404): "an unknown hook is 401, as a wrong signature is",
    ("/{hook_key}", 422): "Postgres refuses the row: seen with /webhooks/github",
    ("/webhooks/gitea", 422): "the same",
}
"""Documented statuses that no test here sees, each with its reason.

An entry applies to each route whose name contains its text.
"""


@dataclass(frozen=True)
class Operation:
    """A route of the OpenAPI document."""

    method: str
    path: str
    described: Document

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def needs_token(self) -> bool:
        return bool(self.described["security"])

    @property
    def takes_body(self) -> bool:
        return "requestBody" in self.described

    @property
    def statuses(self) -> set[int]:
        return {int(status) for status in self.described["responses"]}

    def at(self, **values: Any) -> str:
        return self.path.format(**{**NOBODYS, **values})

    async def call(self, client: Client, path: str, **options: Any) -> Answer:
        raw = json.dumps(BODIES[self.name]).encode() if self.takes_body and "raw" not in options else None
        return await client.request(self.method, path, **({"raw": raw} | options))


async def operations(towpath: Towpath) -> list[Operation]:
    found = (await towpath.admin.as_(None).get("/openapi.json")).expect(200).json
    return [
        Operation(method.upper(), path, described)
        for path, methods in found["paths"].items()
        for method, described in methods.items()
    ]


async def protected(towpath: Towpath) -> list[Operation]:
    return [operation for operation in await operations(towpath) if operation.needs_token]


def is_problem(answer: Answer, status: int) -> bool:
    """Return whether the answer is a complete problem (RFC 9457) of this status."""
    if answer.status != status or answer.headers["content-type"] != "application/problem+json":
        return False
    found = answer.json
    return (
        found["status"] == status
        and found["type"].startswith("urn:towpath:problem:")
        and bool(found["title"])
        and bool(found["detail"])
    )


async def test_only_webhooks_and_pages_need_no_token(towpath: Towpath) -> None:
    open_ = {operation.name for operation in await operations(towpath) if not operation.needs_token}
    assert {name for name in open_ if not name.startswith("POST /webhooks/")} == {
        "GET /docs",
        "GET /schema/pipeline.json",
    }


async def test_every_route_refuses_a_request_without_a_valid_token(towpath: Towpath) -> None:
    wrong = [None, "", "tp_", "x", f"tp_{'a' * 36}", "tp_" + "é" * 36]
    for operation in await protected(towpath):
        for token in wrong:
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            answer = await operation.call(towpath.admin.as_(None), operation.at(), headers=headers)
            assert is_problem(answer, 401), (operation.name, token, answer)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_every_route_refuses_a_parameter_that_it_does_not_know(towpath: Towpath) -> None:
    for operation in await protected(towpath):
        answer = await operation.call(towpath.admin, operation.at() + "?colour=blue")
        assert is_problem(answer, 422), (operation.name, answer)
        assert answer.json["errors"][0]["path"] == "query.colour"


async def test_every_list_refuses_bad_limits_and_cursors(towpath: Towpath) -> None:
    lists = [one for one in await protected(towpath) if has_cursor(one)]
    assert len(lists) >= 8
    for operation in lists:
        for query in ("limit=0", "limit=201", "limit=x", "limit=1&limit=2"):
            answer = await operation.call(towpath.admin, f"{operation.at()}?{query}")
            assert is_problem(answer, 422), (operation.name, query, answer)
        for query in ("cursor=", "cursor=x"):
            answer = await operation.call(towpath.admin, f"{operation.at()}?{query}")
            wanted = 404 if "{" in operation.path else 400  # the object that owns the list is looked up first
            assert is_problem(answer, wanted), (operation.name, query, answer)


async def test_every_list_refuses_a_cursor_of_another_list(towpath: Towpath) -> None:
    one = await scene(towpath)
    repository = (await one.person.client.get("/repositories")).expect(200).json["items"][0]["id"]
    ids = {"pipelines": one.pipeline["id"], "repositories": repository}
    await towpath.person()
    foreign = (await towpath.admin.get("/users?limit=1")).expect(200).json["next_cursor"]
    for operation in [found for found in await protected(towpath) if has_cursor(found)]:
        for cursor in ("A" * 22, *([foreign] if operation.path != "/users" else [])):
            answer = await operation.call(
                towpath.admin, f"{operation.at(id=ids.get(operation.path.split('/')[1]))}?cursor={cursor}"
            )
            assert is_problem(answer, 400), (operation.name, answer)


def has_cursor(operation: Operation) -> bool:
    return any(parameter["name"] == "cursor" for parameter in operation.described.get("parameters", ()))


async def test_every_route_with_ids_answers_404_for_what_is_not_there(towpath: Towpath) -> None:
    with_ids = [operation for operation in await protected(towpath) if "{" in operation.path]
    for operation in with_ids:
        for never in ("0", "-1", "x", "1e3", "٣", str(2**63), "%00", str(2**62)):
            names = [name for name in NOBODYS if f"{{{name}}}" in operation.path]
            answer = await operation.call(towpath.admin, operation.at(**dict.fromkeys(names, never)))
            assert is_problem(answer, 404), (operation.name, never, answer)


async def test_every_route_with_a_body_refuses_what_is_no_such_body(towpath: Towpath) -> None:
    for operation in [one for one in await protected(towpath) if one.takes_body]:
        path, admin = operation.at(), towpath.admin
        assert is_problem(await operation.call(admin, path, raw=b'{"name": '), 400), operation.name
        assert is_problem(await operation.call(admin, path, raw=b"\xff\xfe"), 400), operation.name
        assert is_problem(await operation.call(admin, path, raw=b"[]"), 422), operation.name
        unknown = await operation.call(admin, path, raw=b'{"colour": "blue"}')
        assert is_problem(unknown, 422), operation.name
        assert "body.colour" in {fault["path"] for fault in unknown.json["errors"]}, operation.name
        assert is_problem(
            await operation.call(admin, path, raw=b"{}", headers={"Content-Type": "text/plain"}), 415
        ), operation.name
        assert is_problem(
            await operation.call(admin, path, raw=b"{}", headers={"Content-Encoding": "gzip"}), 415
        ), operation.name
        assert is_problem(await operation.call(admin, path, raw=b" " * (1 << 20) + b" "), 413), operation.name


WRITES_NOTHING = {"POST /pipelines/validate", "POST /pipelines/preview", "POST /pipelines/{id}/preview"}


async def test_a_token_that_only_reads_changes_nothing(towpath: Towpath) -> None:
    person = await towpath.person()
    token = (
        (await person.client.post("/tokens", {"name": "reader", "scopes": ["read"]}))
        .expect(201)
        .json["token"]
    )
    reader = towpath.admin.as_(token)
    for operation in await protected(towpath):
        if operation.method == "GET" or operation.name in WRITES_NOTHING:
            continue
        answer = await operation.call(reader, operation.at())
        assert is_problem(answer, 403), (operation.name, answer)


ADMINISTRATION = {
    *("GET /users", "POST /users", "GET /users/{id}", "PATCH /users/{id}", "DELETE /users/{id}"),
    *("POST /repositories", "DELETE /repositories/{id}"),
    "GET /audit",
    *("POST /secrets", "GET /secrets", "PUT /secrets/{name}", "DELETE /secrets/{name}"),
    *("GET /encryption", "POST /encryption/rotate"),
    *("GET /dead-letters", "GET /dead-letters/{id}", "POST /dead-letters/{id}/replay"),
}


async def test_administration_is_refused_to_others_regardless_of_their_token(towpath: Towpath) -> None:
    """The caller is no longer an administrator, but has a token from that time."""
    person = await towpath.person()
    (await towpath.admin.request("PATCH", f"/users/{person.id}", {"is_admin": True})).expect(200)
    token = (
        (
            await towpath.admin.post(
                "/tokens", {"name": "was admin", "scopes": ["admin"], "user_id": person.id}
            )
        )
        .expect(201)
        .json["token"]
    )
    (await towpath.admin.as_(token).get("/users")).expect(200)
    (await towpath.admin.request("PATCH", f"/users/{person.id}", {"is_admin": False})).expect(200)

    refused = set()
    for operation in await protected(towpath):
        if (await operation.call(towpath.admin.as_(token), operation.at())).status == 403:
            refused.add(operation.name)
    assert refused == ADMINISTRATION


@dataclass(frozen=True)
class Belongings:
    """One object of each kind of an owner, and another person who may see none of them."""

    values: Document
    owner: Person
    stranger: Person

    def path(self, operation: Operation) -> str:
        """Return the route's path with the ids of the owner's objects."""
        kind = operation.path.split("/")[1]
        return operation.at(
            id=self.values.get(kind, 1), user_id=self.owner.id, delivery_id=self.values["deliveries"]
        )


async def belongings(towpath: Towpath) -> Belongings:
    one = await scene(towpath, {"only": job("false")})
    delivery_id = await one.push()
    run = await towpath.finished((await one.decision(delivery_id))["run_id"])
    again = (await one.person.client.post(f"/runs/{run['id']}/retry")).expect(201).json
    cause = again["transitions"][0]["cause"]
    assert cause.startswith("command:")
    values = {
        "pipelines": one.pipeline["id"],
        "runs": run["id"],
        "events": run["event_id"],
        "deliveries": delivery_id,
        "commands": int(cause.removeprefix("command:")),
        "repositories": run["repository_id"],
        "tokens": (await one.person.client.get("/tokens")).expect(200).json["items"][0]["id"],
        "users": one.person.id,
    }
    return Belongings(values, one.person, await towpath.person())


async def test_nobody_reaches_what_is_somebody_elses_nor_learns_that_it_is_there(towpath: Towpath) -> None:
    """The answer is the same as for an object that does not exist."""
    theirs = await belongings(towpath)
    for operation in [one for one in await protected(towpath) if "{" in one.path]:
        path = theirs.path(operation)
        answer = await operation.call(theirs.stranger.client, path)
        nobodys = await operation.call(theirs.stranger.client, operation.at())
        wanted = 403 if operation.name in ADMINISTRATION else 404
        assert is_problem(answer, wanted), (operation.name, path, answer)
        assert answer.raw == nobodys.raw, operation.name
        if operation.method == "GET":
            owned = await operation.call(theirs.owner.client, path)
            assert owned.status == (403 if operation.name in ADMINISTRATION else 200), (operation.name, owned)


async def test_the_lists_of_others_show_nothing_of_somebodys(towpath: Towpath) -> None:
    theirs = await belongings(towpath)
    queries = [
        "/pipelines",
        "/runs",
        f"/runs?pipeline_config_id={theirs.values['pipelines']}",
        "/events",
        "/deliveries",
        "/repositories",
    ]
    for path in queries:
        assert (await theirs.owner.client.get(path)).expect(200).json["items"], path
        assert (await theirs.stranger.client.get(path)).expect(200).json == {
            "items": [],
            "next_cursor": None,
        }, path
    assert is_problem(await theirs.stranger.client.get(f"/tokens?user_id={theirs.owner.id}"), 403)


async def test_every_documented_answer_is_seen_by_an_end_to_end_test(towpath: Towpath) -> None:
    for path in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    documented = {
        (operation.name, status) for operation in await operations(towpath) for status in operation.statuses
    }
    open_ = {operation.name for operation in await operations(towpath) if not operation.needs_token}

    def is_seen(name: str, status: int) -> bool:
        return (
            (name, status) in CLAIMS
            or (name not in open_ and status in SEEN_BY_ALL)
            or any(text in name and status == its for text, its in NOT_SEEN)
        )

    unseen = sorted(f"{name} {status}" for name, status in documented if not is_seen(name, status))
    unknown = sorted(
        f"{name} {status}"
        for name, status in CLAIMS
        if (name, status) not in documented and name not in UNDOCUMENTED
    )
    assert (unseen, unknown) == ([], [])


UNDOCUMENTED = {"GET /openapi.json", "GET /healthz", "GET /readyz", "GET /metrics"}
"""Routes that are served beside the API and are not in its document."""
