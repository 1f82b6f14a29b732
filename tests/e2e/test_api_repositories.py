"""Repositories and grants over HTTP.

Administrators register repositories, users with a grant use them, and secrets are never returned.
"""

import secrets

import pytest

from tests.harness.client import Answer
from tests.harness.coverage import covers
from tests.harness.installation import Person, Towpath
from tests.harness.scenes import Document, outcome_of, scene


def registration(**fields: object) -> Document:
    return {
        "full_name": f"octo/repo-{secrets.token_hex(5)}",
        "clone_url": "https://github.example/none.git",
        **fields,
    }


async def registered(towpath: Towpath, **fields: object) -> Document:
    record: Document = (await towpath.admin.post("/repositories", registration(**fields))).expect(201).json
    return record


async def grant(towpath: Towpath, repository: Document, person: Person, role: str) -> None:
    (await towpath.admin.put(f"/repositories/{repository['id']}/grants/{person.id}", {"role": role})).expect(
        200
    )


async def patch(person: Person, repository: Document, body: Document, **headers: str) -> Answer:
    return await person.client.request("PATCH", f"/repositories/{repository['id']}", body, headers=headers)


@covers("POST /repositories 201", "GET /repositories/{id} 200", "GET /repositories 200")
async def test_a_registered_repository_has_an_address_for_its_webhook(towpath: Towpath) -> None:
    wanted = registration(forge_id=secrets.randbelow(2**40) + 1)
    answer = (await towpath.admin.post("/repositories", wanted)).expect(201)
    record = answer.json

    assert {name: record[name] for name in wanted} == wanted
    assert record["forge"] == "github"
    assert record["webhook_url"] == f"{towpath.url}/webhooks/github"
    assert answer.headers["location"] == f"/repositories/{record['id']}"
    read = (await towpath.admin.get(f"/repositories/{record['id']}")).expect(200)
    assert (read.json, read.headers["etag"]) == (record, answer.headers["etag"])
    by_name = (
        await towpath.admin.get(f"/repositories?full_name={wanted['full_name'].upper()}&forge=github")
    ).expect(200)
    assert by_name.json["items"] == [record]
    assert (await towpath.admin.get(f"/repositories?full_name={wanted['full_name']}&forge=gitea")).expect(
        200
    ).json["items"] == []


@covers("POST /repositories 201", "PATCH /repositories/{id} 200")
async def test_secrets_go_in_and_never_come_out(towpath: Towpath) -> None:
    person = await towpath.person()
    hidden = {"webhook_secret": secrets.token_hex(8), "clone_token": secrets.token_hex(8)}
    answer = (await towpath.admin.post("/repositories", registration(**hidden))).expect(201)
    record = answer.json
    await grant(towpath, record, person, "maintainer")
    assert (record["has_webhook_secret"], record["has_clone_token"]) == (True, True)
    assert record["webhook_url"] == f"{towpath.url}/webhooks/github/{record['hook_key']}"

    changed = (await patch(person, record, {"clone_token": None})).expect(200)
    assert (changed.json["has_webhook_secret"], changed.json["has_clone_token"]) == (True, False)
    for shown in (
        answer,
        changed,
        await towpath.admin.get(f"/repositories/{record['id']}"),
        await towpath.admin.get("/repositories?limit=200"),
    ):
        assert not any(secret in shown.text for secret in hidden.values())


BAD: dict[str, list[object]] = {
    "full_name": ["web", "octo/", "/web", "octo/web/more", "octo/we b", "octo/ünicode", "octo/" + "x" * 101],
    "forge": ["gitlab", ""],
    "forge_id": [0, -1, 2**63, "1"],
    "clone_url": [
        "",
        "github.example/x.git",
        "ssh://git@github.example/x.git",
        "--upload-pack=touch x",
        "https://",
        "https://me:secret@github.example/x.git",
        "https://github.example/x.git?a=b",
        "ext::sh -c touch% x",
        "file://host/x",
        "file:///a/../../etc",
    ],
    "webhook_secret": ["short", "x" * 1001],
}


@covers("POST /repositories 422", "PATCH /repositories/{id} 422")
async def test_a_bad_registration_is_refused_with_the_field(towpath: Towpath) -> None:
    record = await registered(towpath)
    for field, values in BAD.items():
        for value in values:
            answer = (await towpath.admin.post("/repositories", registration(**{field: value}))).expect(422)
            assert [error["path"] for error in answer.json["errors"]] == [f"body.{field}"], (field, value)
    answer = (
        await towpath.admin.request("PATCH", f"/repositories/{record['id']}", {"clone_url": "ftp://x/y"})
    ).expect(422)
    assert answer.json["errors"][0]["path"] == "body.clone_url"


@covers("POST /repositories 409", "PATCH /repositories/{id} 409")
async def test_name_and_forge_id_are_registered_once(towpath: Towpath) -> None:
    first, second = (
        await registered(towpath, forge_id=secrets.randbelow(2**40) + 1),
        await registered(towpath),
    )
    (await towpath.admin.post("/repositories", registration(full_name=first["full_name"]))).expect(409)
    (await towpath.admin.post("/repositories", registration(full_name=first["full_name"].upper()))).expect(
        409
    )
    (await towpath.admin.post("/repositories", registration(forge_id=first["forge_id"]))).expect(409)
    (
        await towpath.admin.post("/repositories", registration(full_name=first["full_name"], forge="gitea"))
    ).expect(201)
    (
        await towpath.admin.request(
            "PATCH", f"/repositories/{second['id']}", {"full_name": first["full_name"]}
        )
    ).expect(409)


@covers(
    "POST /repositories 403",
    "DELETE /repositories/{id} 403",
    "PATCH /repositories/{id} 403 404 200",
    "GET /repositories/{id} 404",
)
async def test_maintainers_change_a_repository_and_viewers_see_it(towpath: Towpath) -> None:
    record = await registered(towpath)
    maintainer, viewer, stranger = await towpath.person(), await towpath.person(), await towpath.person()
    await grant(towpath, record, maintainer, "maintainer")
    await grant(towpath, record, viewer, "viewer")
    path = f"/repositories/{record['id']}"

    (await patch(maintainer, record, {"clone_url": "https://github.example/other.git"})).expect(200)
    (await patch(viewer, record, {"clone_url": "https://github.example/mine.git"})).expect(403)
    (await patch(stranger, record, {"clone_url": "https://github.example/mine.git"})).expect(404)
    for person, role in ((maintainer, "maintainer"), (viewer, "viewer")):
        seen = (await person.client.get(path)).expect(200).json
        assert (seen["clone_url"], seen["role"]) == ("https://github.example/other.git", role)
        assert (await person.client.get("/repositories")).expect(200).json["items"] == [seen]
        (await person.client.delete(path)).expect(403)
        (await person.client.post("/repositories", registration())).expect(403)
    (await stranger.client.get(path)).expect(404)


@covers("PATCH /repositories/{id} 412 200", "DELETE /repositories/{id} 412 204", "GET /repositories/{id} 404")
async def test_a_change_based_on_an_old_version_is_refused(towpath: Towpath) -> None:
    record = await registered(towpath)
    path = f"/repositories/{record['id']}"
    old = (await towpath.admin.get(path)).headers["etag"]
    new = (
        (
            await towpath.admin.request(
                "PATCH", path, {"hook_target_type": "repository"}, headers={"If-Match": old}
            )
        )
        .expect(200)
        .headers["etag"]
    )
    assert (await towpath.admin.request("PATCH", path, {}, headers={"If-Match": old})).expect(412).headers[
        "etag"
    ] == new
    (await towpath.admin.delete(path, headers={"If-Match": old})).expect(412)
    (await towpath.admin.delete(path, headers={"If-Match": new})).expect(204)
    (await towpath.admin.get(path)).expect(404)


@covers("DELETE /repositories/{id} 204", "GET /runs/{id} 200")
async def test_events_of_a_deleted_repository_start_nothing(towpath: Towpath) -> None:
    one = await scene(towpath)
    before = await one.started()
    (await towpath.admin.delete(f"/repositories/{before['repository_id']}")).expect(204)
    delivery = await outcome_of(towpath, await one.push())
    assert delivery["outcome"] == "unknown_repository"
    assert (await one.run(before["id"]))["repository"] == one.repository.full_name
    assert [run["id"] for run in await towpath.runs(one.pipeline)] == [before["id"]]


async def test_the_forge_id_is_learned_from_the_first_verified_delivery(towpath: Towpath) -> None:
    one = await scene(towpath)
    learning = await registered(towpath)
    named = type(one.repository)(learning["full_name"])
    await outcome_of(towpath, await towpath.deliver_push(named))
    assert (await towpath.admin.get(f"/repositories/{learning['id']}")).expect(200).json[
        "forge_id"
    ] == named.forge_id


# ---------------------------------------------------------------- grants


@covers("GET /repositories/{id}/grants 200 403 404")
@covers(
    "PUT /repositories/{id}/grants/{user_id} 200 403 404 422",
    "DELETE /repositories/{id}/grants/{user_id} 204 403 404",
)
async def test_maintainers_grant_and_withdraw(towpath: Towpath) -> None:
    record = await registered(towpath)
    maintainer, viewer, stranger = await towpath.person(), await towpath.person(), await towpath.person()
    await grant(towpath, record, maintainer, "maintainer")
    path = f"/repositories/{record['id']}/grants"

    given = (await maintainer.client.put(f"{path}/{viewer.id}", {"role": "viewer"})).expect(200).json
    assert (given["user_id"], given["role"]) == (viewer.id, "viewer")
    listed = (await maintainer.client.get(path)).expect(200).json["items"]
    assert [(one["user_id"], one["role"]) for one in listed] == [
        (viewer.id, "viewer"),
        (maintainer.id, "maintainer"),
    ]
    (await maintainer.client.put(f"{path}/{viewer.id}", {"role": "owner"})).expect(422)
    (await maintainer.client.put(f"{path}/{2**62}", {"role": "viewer"})).expect(404)

    for person, status in ((viewer, 403), (stranger, 404)):
        (await person.client.get(path)).expect(status)
        (await person.client.put(f"{path}/{person.id}", {"role": "maintainer"})).expect(status)
        (await person.client.delete(f"{path}/{maintainer.id}")).expect(status)
    (await maintainer.client.delete(f"{path}/{viewer.id}")).expect(204)
    (await maintainer.client.delete(f"{path}/{viewer.id}")).expect(404)
    (await viewer.client.get(f"/repositories/{record['id']}")).expect(404)


@pytest.mark.parametrize("role", ["viewer", None])
async def test_a_pipeline_whose_owner_is_no_maintainer_of_the_repository_does_not_run(
    towpath: Towpath, role: str | None
) -> None:
    one = await scene(towpath)
    assert await one.decided() == ("run", "matched")
    [found, *_] = (await one.person.client.get("/repositories")).json["items"]
    path = f"/repositories/{found['id']}/grants/{one.person.id}"
    if role is None:
        (await towpath.admin.delete(path)).expect(204)
    else:
        (await towpath.admin.put(path, {"role": role})).expect(200)
    assert await one.decided() == ("not_allowed", "owner_not_maintainer")


async def test_a_viewer_sees_the_runs_of_others_and_commands_none(towpath: Towpath) -> None:
    one = await scene(towpath)
    run = await one.started()
    viewer = await towpath.person()
    (
        await towpath.admin.put(
            f"/repositories/{run['repository_id']}/grants/{viewer.id}", {"role": "viewer"}
        )
    ).expect(200)

    assert (await viewer.client.get(f"/runs/{run['id']}")).expect(200).json["pipeline"] == one.pipeline[
        "name"
    ]
    assert [seen["id"] for seen in (await viewer.client.get("/runs")).expect(200).json["items"]] == [
        run["id"]
    ]
    (await viewer.client.get(f"/pipelines/{one.pipeline['id']}")).expect(404)
    assert (await viewer.client.get(f"/events/{run['event_id']}")).expect(200).json["decisions"] == []
    for command in ("cancel", "retry"):
        (await viewer.client.post(f"/runs/{run['id']}/{command}")).expect(403)
