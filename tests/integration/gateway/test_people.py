"""Users, tokens, repositories and grants through the API."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared.crypto import Keyring, hash_token
from tests.integration.gateway.serving import Serving

URL = "https://github.example/octo/web.git"


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


class TestUsers:
    async def test_an_administrator_adds_changes_and_disables_them(self, served: Serving) -> None:
        user = (
            (await served.admin.post("/users", {"name": "Mona", "email": "Mona@Example.org"}))
            .expect(201)
            .json
        )
        assert (user["email"], user["is_admin"], user["disabled_at"]) == ("mona@example.org", False, None)
        (await served.admin.post("/users", {"name": "x", "email": "MONA@example.org"})).expect(409)
        path = f"/users/{user['id']}"
        assert (await served.admin.request("PATCH", path, {"name": "Lisa"})).expect(200).json[
            "name"
        ] == "Lisa"
        token = (
            (await served.admin.post("/tokens", {"name": "t", "user_id": user["id"]}))
            .expect(201)
            .json["token"]
        )
        assert (await served.admin.as_(token).get("/users/me")).expect(200).json["id"] == user["id"]
        (await served.admin.delete(path)).expect(204)
        (await served.admin.as_(token).get("/users/me")).expect(401)
        assert (await served.admin.request("PATCH", path, {"disabled": False})).expect(200).json[
            "disabled_at"
        ] is None
        (await served.admin.as_(token).get("/users/me")).expect(200)
        assert user["id"] in [
            item["id"] for item in (await served.admin.get("/users?limit=200")).json["items"]
        ]

    async def test_the_only_administrator_stays_one(self, served: Serving) -> None:
        path = f"/users/{(await served.admin.get('/users/me')).json['id']}"
        (await served.admin.request("PATCH", path, {"is_admin": False})).expect(409)
        (await served.admin.delete(path)).expect(409)
        (await served.admin.request("PATCH", path, {"name": "still admin"})).expect(200)

    @pytest.mark.parametrize(
        "email", ["", "x", "a b@c", "a@", "@b", "a@b\n", "é@example.org", "x" * 255 + "@y"]
    )
    async def test_an_odd_address_is_refused(self, served: Serving, email: str) -> None:
        (await served.admin.post("/users", {"name": "x", "email": email})).expect(422)


class TestTokens:
    async def test_a_token_is_shown_once_and_kept_as_a_hash(self, served: Serving) -> None:
        user_id, person = await served.person()
        made = (await person.post("/tokens", {"name": "laptop", "scopes": ["read"]})).expect(201).json
        assert made["token"].startswith(made["prefix"])
        assert made["user_id"] == user_id
        listed = (await person.get("/tokens")).json["items"][0]
        assert listed == {name: value for name, value in made.items() if name != "token"}
        (row,) = await served.rows("SELECT hash FROM api_tokens WHERE id = $1", made["id"])
        assert row["hash"] == hash_token(made["token"])

    async def test_a_revoked_token_ends_at_once(self, served: Serving) -> None:
        _, person = await served.person()
        made = (await person.post("/tokens", {"name": "laptop"})).json
        laptop = person.as_(made["token"])
        (await laptop.get("/pipelines")).expect(200)
        (await person.delete(f"/tokens/{made['id']}")).expect(204)
        (await laptop.get("/pipelines")).expect(401)
        own = next(
            item["id"] for item in (await person.get("/tokens")).json["items"] if item["id"] != made["id"]
        )
        (await person.delete(f"/tokens/{own}")).expect(409)
        (await person.get("/pipelines")).expect(200)

    async def test_an_expired_token_is_refused(self, served: Serving) -> None:
        _, person = await served.person()
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        made = (await person.post("/tokens", {"name": "t", "expires_at": soon})).expect(201).json
        await served.rows(
            "UPDATE api_tokens SET expires_at = now() - interval '1 second' WHERE id = $1", made["id"]
        )
        (await person.as_(made["token"]).get("/pipelines")).expect(401)
        (await person.post("/tokens", {"name": "t", "expires_at": "2099-01-01T00:00:00"})).expect(422)

    async def test_a_token_makes_none_that_reaches_further(self, served: Serving) -> None:
        user_id, person = await served.person(("read", "write"))
        other_id, _ = await served.person()
        (await person.post("/tokens", {"name": "t", "scopes": ["admin"]})).expect(403)
        (await person.post("/tokens", {"name": "t", "user_id": other_id})).expect(403)
        (await person.get(f"/tokens?user_id={other_id}")).expect(403)
        (await served.admin.post("/tokens", {"name": "t", "user_id": user_id, "scopes": ["admin"]})).expect(
            403
        )
        (await served.admin.post("/tokens", {"name": "t", "user_id": 10**15})).expect(404)
        (await person.post("/tokens", {"name": "t", "scopes": []})).expect(422)

    async def test_its_use_is_noted(self, served: Serving) -> None:
        _, person = await served.person()
        (await person.get("/pipelines")).expect(200)
        assert (await person.get("/tokens")).json["items"][0]["last_used_at"] is not None


class TestRepositories:
    async def test_secrets_go_in_and_never_come_out(self, served: Serving) -> None:
        secrets = {"webhook_secret": "very secret", "clone_token": "ghp_secret"}
        repository = await served.repository(**secrets)
        assert (repository["has_webhook_secret"], repository["has_clone_token"]) == (True, True)
        answers = [
            await served.admin.get(f"/repositories/{repository['id']}"),
            await served.admin.get("/repositories"),
        ]
        assert not any(secret in answer.text for answer in answers for secret in secrets.values())
        (row,) = await served.rows(
            "SELECT webhook_secret, clone_token FROM repositories WHERE id = $1", repository["id"]
        )
        keyring = served.gateway.keyring
        assert isinstance(keyring, Keyring)
        for column, secret in secrets.items():
            assert (
                keyring.decrypt(row[column], table="repositories", column=column, row=repository["id"])
                == secret.encode()
            )

    @pytest.mark.parametrize(
        ("field", "value"),
        [("forge_id", 4242), ("full_name", "octo/theirs"), ("hook_target_type", "organization")],
    )
    async def test_x02_only_administrators_change_identity(
        self, served: Serving, field: str, value: Any
    ) -> None:
        change = {field: value}
        repository = await served.repository()
        path = f"/repositories/{repository['id']}"
        user_id, maintainer = await served.person()
        (await served.admin.put(f"{path}/grants/{user_id}", {"role": "maintainer"})).expect(200)
        (await maintainer.request("PATCH", path, change)).expect(403)
        same = {"full_name": repository["full_name"], "webhook_secret": "a new secret"}
        (await maintainer.request("PATCH", path, same)).expect(200)
        (await served.admin.request("PATCH", path, change)).expect(200)
        query = "SELECT details::text FROM audit_log WHERE object = $1 ORDER BY id DESC LIMIT 1"
        (row,) = await served.rows(query, f"repository:{repository['id']}")
        identity = {field: [repository[field], value]}
        assert json.loads(row["details"]) == {"fields": [field], "identity": identity}
        (await served.admin.delete(path)).expect(204)

    async def test_x02_a_maintainer_does_not_register_a_learned_id(self, served: Serving) -> None:
        repository = await served.repository()
        path = f"/repositories/{repository['id']}"
        user_id, maintainer = await served.person()
        (await served.admin.put(f"{path}/grants/{user_id}", {"role": "maintainer"})).expect(200)
        await served.rows(
            "INSERT INTO repository_identities (repository_id, forge, forge_id, full_name)"
            " VALUES ($1, 'github', 4343, 'x/y')",
            repository["id"],
        )
        assert (await served.admin.get(path)).json["forge_id"] == 4343
        (await maintainer.request("PATCH", path, {"forge_id": 4343})).expect(403)

    @pytest.mark.parametrize(
        "url",
        [
            "https://github.example/octo/renamed.git",
            "https://github.example/Octo/web.git",
            "https://github.example/octo/web.git/",
            "https://github.example/octo/w%65b.git",
            "https://github.example:8443/octo/web.git",
            "https://listening.example/octo/web.git",
        ],
    )
    async def test_x10_another_clone_url_needs_another_clone_token(self, served: Serving, url: str) -> None:
        """A clone token may be valid for every repository of its server.

        A maintainer must therefore not send it to another repository's URL.
        """
        repository = await served.repository(clone_token="ghp_secret", clone_url=URL)
        path = f"/repositories/{repository['id']}"
        user_id, maintainer = await served.person()
        (await served.admin.put(f"{path}/grants/{user_id}", {"role": "maintainer"})).expect(200)
        for client in (maintainer, served.admin):
            refused = (await client.request("PATCH", path, {"clone_url": url})).expect(422).json["errors"]
            assert [(fault["path"], fault["code"]) for fault in refused] == [("body.clone_token", "needed")]
        assert (await served.admin.get(path)).json["clone_url"] == URL
        changed = await maintainer.request("PATCH", path, {"clone_url": url, "clone_token": "ghp_other"})
        assert changed.expect(200).json["clone_url"] == url

    async def test_x10_the_same_clone_url_keeps_the_clone_token(self, served: Serving) -> None:
        repository = await served.repository(clone_token="ghp_secret", clone_url=URL)
        path = f"/repositories/{repository['id']}"
        for url in (URL, "https://GitHub.example:443/octo/web.git"):
            changed = (await served.admin.request("PATCH", path, {"clone_url": url})).expect(200).json
            assert changed["has_clone_token"] is True
        open_one = await served.repository(clone_url=URL)
        other = {"clone_url": "https://github.example/octo/renamed.git"}
        (await served.admin.request("PATCH", f"/repositories/{open_one['id']}", other)).expect(200)

    async def test_a_clone_token_never_goes_to_another_server_than_it_was_given_for(
        self, served: Serving
    ) -> None:
        repository = await served.repository(
            clone_token="ghp_secret", clone_url="https://github.example/octo/web.git"
        )
        path = f"/repositories/{repository['id']}"
        user_id, maintainer = await served.person()
        (await served.admin.put(f"{path}/grants/{user_id}", {"role": "maintainer"})).expect(200)
        (
            await maintainer.request("PATCH", path, {"clone_url": "https://listening.example/octo/web.git"})
        ).expect(422)
        (
            await maintainer.request("PATCH", path, {"clone_url": "https://github.example:8443/octo/web.git"})
        ).expect(422)
        changed = await maintainer.request(
            "PATCH", path, {"clone_url": "https://listening.example/octo/web.git", "clone_token": None}
        )
        assert changed.expect(200).json["has_clone_token"] is False

    async def test_a_name_and_a_forge_id_are_registered_once(self, served: Serving) -> None:
        repository = await served.repository(forge_id=77)
        body = {"full_name": repository["full_name"].upper(), "clone_url": URL}
        (await served.admin.post("/repositories", body)).expect(409)
        (
            await served.admin.post("/repositories", body | {"full_name": "octo/renamed", "forge_id": 77})
        ).expect(409)
        (await served.admin.post("/repositories", body | {"forge": "gitea"})).expect(201)
        (await served.admin.delete(f"/repositories/{repository['id']}")).expect(204)
        (await served.admin.get(f"/repositories/{repository['id']}")).expect(404)
        (await served.admin.post("/repositories", body | {"forge_id": 77})).expect(201)

    async def test_a_maintainer_may_change_it_and_a_viewer_may_not(self, served: Serving) -> None:
        repository = await served.repository()
        path = f"/repositories/{repository['id']}"
        maintainer_id, maintainer = await served.person()
        viewer_id, viewer = await served.person()
        for user_id, role in ((maintainer_id, "maintainer"), (viewer_id, "viewer")):
            assert (await served.admin.put(f"{path}/grants/{user_id}", {"role": role})).expect(200).json[
                "role"
            ] == role

        changed = (
            (await maintainer.request("PATCH", path, {"clone_url": "https://github.example/octo/new.git"}))
            .expect(200)
            .json
        )
        assert (changed["clone_url"], changed["full_name"], changed["role"]) == (
            "https://github.example/octo/new.git",
            repository["full_name"],
            "maintainer",
        )
        (await viewer.request("PATCH", path, {"full_name": "octo/mine"})).expect(403)
        (await viewer.get(f"{path}/grants")).expect(403)
        assert (await viewer.get(path)).expect(200).json["role"] == "viewer"
        assert [item["id"] for item in (await viewer.get("/repositories")).json["items"]] == [
            repository["id"]
        ]
        assert {
            item["user_id"]: item["role"] for item in (await maintainer.get(f"{path}/grants")).json["items"]
        } == {
            maintainer_id: "maintainer",
            viewer_id: "viewer",
        }
        (await maintainer.delete(f"{path}/grants/{viewer_id}")).expect(204)
        (await viewer.get(path)).expect(404)
        (await maintainer.delete(f"{path}/grants/{viewer_id}")).expect(404)
        (await maintainer.put(f"{path}/grants/{10**15}", {"role": "viewer"})).expect(404)

    @pytest.mark.parametrize(
        "url",
        [
            "http://github.com/o/r",
            "https://127.0.0.1/o/r",
            "https://u:p@github.com/o/r",
            "file:///srv/git",
            "--upload-pack=x",
            "ssh://x/y",
        ],
    )
    async def test_a_clone_url_leads_nowhere_it_must_not(self, served: Serving, url: str) -> None:
        problem = (
            (await served.admin.post("/repositories", {"full_name": "octo/x", "clone_url": url}))
            .expect(422)
            .json
        )
        assert problem["errors"][0]["path"] == "body.clone_url"
        repository = await served.repository()
        (await served.admin.request("PATCH", f"/repositories/{repository['id']}", {"clone_url": url})).expect(
            422
        )

    async def test_a_secret_that_is_null_is_removed_and_one_that_is_absent_stays(
        self, served: Serving
    ) -> None:
        repository = await served.repository(webhook_secret="very secret", clone_token="ghp_secret")
        path = f"/repositories/{repository['id']}"
        changed = (await served.admin.request("PATCH", path, {"webhook_secret": None})).expect(200).json
        assert (changed["has_webhook_secret"], changed["has_clone_token"]) == (False, True)

    async def test_a_stale_change_is_refused(self, served: Serving) -> None:
        repository = await served.repository()
        path = f"/repositories/{repository['id']}"
        etag = (await served.admin.get(path)).headers["etag"]
        changes = [
            served.admin.request("PATCH", path, {"forge_id": number}, headers={"If-Match": etag})
            for number in (1001, 1002, 1003)
        ]
        assert sorted(answer.status for answer in await asyncio.gather(*changes)) == [200, 412, 412]
