"""Webhooks are verified before anything else, and stored exactly once."""

import asyncio
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
import zstandard

from shared.forms import CONTENT_TYPE as FORM
from tests.harness.github import FakeRepository, push, signature, to_bytes
from tests.integration.gateway.serving import GITEA_SECRET, GITHUB_SECRET, OLD_GITHUB_SECRET, Serving

MEBIBYTE = 1 << 20
BODY = to_bytes(push(FakeRepository("octo/web", forge_id=42)))


async def test_a_signed_push_is_accepted_and_stored_as_it_came(served: Serving) -> None:
    answer = await served.deliver(BODY, X_GitHub_Delivery="d-1")

    assert answer.expect(202).json == {"delivery_id": "d-1", "status": "accepted"}
    (row,) = await served.rows("SELECT * FROM deliveries")
    assert zstandard.decompress(row["body"]) == BODY
    assert (row["source"], row["delivery_id"], row["event_type"], row["hook_key"], row["via_inlet"]) == (
        "github",
        "d-1",
        "push",
        None,
        False,
    )
    assert row["body_sha256"] == hashlib.sha256(BODY).digest()
    assert row["body_bytes"] == len(BODY)
    headers = json.loads(row["headers"])
    assert headers["x-github-hook-installation-target-type"] == "repository"
    assert not any("signature" in name for name in headers)
    (message,) = await served.rows("SELECT type, message FROM outbox")
    assert message["type"] == "delivery.accepted"
    assert json.loads(message["message"])["delivery_ids"] == [row["id"]]


async def test_both_secrets_count_while_one_is_being_replaced(served: Serving) -> None:
    (await served.deliver(BODY, secret=OLD_GITHUB_SECRET)).expect(202)


async def test_a_delivery_sent_fifty_times_at_once_is_stored_once(served: Serving) -> None:
    answers = await asyncio.gather(*(served.deliver(BODY, X_GitHub_Delivery="d-1") for _ in range(50)))

    assert sorted(answer.status for answer in answers) == [200] * 49 + [202]
    assert {answer.json["delivery_id"] for answer in answers} == {"d-1"}
    assert await served.count("deliveries") == 1
    assert await served.count("audit_log WHERE action = 'delivery.replayed'") == 0


async def test_a_replayed_body_is_the_first_delivery_and_is_noted(served: Serving) -> None:
    first = (await served.deliver(BODY)).expect(202).json["delivery_id"]
    replay = (await served.deliver(BODY, X_GitHub_Delivery="another")).expect(200)

    assert replay.json == {"delivery_id": first, "status": "duplicate"}
    assert await served.count("deliveries") == 1
    (entry,) = await served.rows("SELECT * FROM audit_log WHERE action = 'delivery.replayed'")
    assert json.loads(entry["details"]) == {"delivery_id": "another"}


async def test_of_many_different_deliveries_at_once_each_is_stored(served: Serving) -> None:
    bodies = [to_bytes(push(FakeRepository("octo/web"))) for _ in range(100)]
    answers = await asyncio.gather(*(served.deliver(body) for body in bodies))
    assert {answer.status for answer in answers} == {202}
    assert await served.count("deliveries") == 100


GOOD = signature(GITHUB_SECRET, BODY)
SHA1 = "sha1=" + hmac.new(GITHUB_SECRET.encode(), BODY, "sha1").hexdigest()


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({}, id="missing"),
        pytest.param({"X-Hub-Signature-256": "sha256=" + "0" * 64}, id="wrong"),
        pytest.param({"X-Hub-Signature-256": ""}, id="empty"),
        pytest.param({"X-Hub-Signature": SHA1}, id="SHA-1 only"),
        pytest.param({"X-Hub-Signature-256": SHA1}, id="SHA-1 in its place"),
        pytest.param({"X-Hub-Signature-256": GOOD.upper()}, id="upper case"),
        pytest.param({"X-Hub-Signature-256": "sha256=" + GOOD[7:].upper()}, id="upper-case digits"),
        pytest.param({"X-Hub-Signature-256": GOOD[7:]}, id="without its prefix"),
        pytest.param({"X-Hub-Signature-256": "sha256=" + "é" * 64}, id="not ASCII"),
        pytest.param({"X-Hub-Signature-256": GOOD + "00"}, id="too long"),
        pytest.param({"X-Gitea-Signature": GOOD[7:]}, id="another forge's header"),
    ],
)
async def test_without_one_right_signature_nothing_is_stored(
    served: Serving, headers: dict[str, str]
) -> None:
    sent = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        **headers,
    }
    answer = await served.anonymous.request("POST", "/webhooks/github", raw=BODY, headers=sent)
    assert answer.expect(401).headers["content-type"].startswith("application/problem+json")
    assert await served.count("deliveries") == 0


async def test_a_doubled_signature_is_refused(served: Serving) -> None:
    headers = [("Content-Type", "application/json"), ("X-GitHub-Event", "push"), ("X-GitHub-Delivery", "d-1")]
    headers += [("X-Hub-Signature-256", GOOD)] * 2
    async with served.session.post(f"{served.url}/webhooks/github", data=BODY, headers=headers) as response:
        assert response.status == 401


async def test_a_changed_byte_breaks_the_signature(served: Serving) -> None:
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        "X-Hub-Signature-256": GOOD,
    }
    (await served.anonymous.request("POST", "/webhooks/github", raw=BODY + b" ", headers=headers)).expect(401)


@pytest.mark.parametrize("name", ["X_GitHub_Event", "X_GitHub_Delivery"])
@pytest.mark.parametrize("value", [None, "", "two words", "x" * 201, "ü"])
async def test_event_and_delivery_id_are_needed(served: Serving, name: str, value: str | None) -> None:
    headers: dict[str, Any] = {name: value}
    (await served.deliver(BODY, **headers)).expect(400)
    assert await served.count("deliveries") == 0


async def test_a_ping_is_answered_and_not_stored(served: Serving) -> None:
    (await served.deliver(b'{"zen": "Keep it logically awesome.", "hook_id": 1}', event="ping")).expect(200)
    assert await served.count("deliveries") == 0


@pytest.mark.parametrize(
    ("event", "body"), [("star", b"{}"), ("push", b"not json"), ("push", b""), ("x-unknown", b'{"a": NaN}')]
)
async def test_what_nobody_understands_is_accepted_for_the_record(
    served: Serving, event: str, body: bytes
) -> None:
    (await served.deliver(body, event=event)).expect(202)
    assert await served.count("deliveries") == 1


async def test_a_form_is_stored_raw(served: Serving) -> None:
    body = urlencode({"payload": BODY.decode()}).encode()
    (await served.deliver(body, Content_Type="application/x-www-form-urlencoded")).expect(202)
    (row,) = await served.rows("SELECT body, headers FROM deliveries")
    assert zstandard.decompress(row["body"]) == body
    assert json.loads(row["headers"])["content-type"] == "application/x-www-form-urlencoded"


async def test_a16_the_limit_of_a_form_counts_its_payload(served: Serving) -> None:
    """Forges encode each quote of the JSON in three bytes, so a form can be larger than the limit.

    The limit counts the payload after decoding.
    """
    fits = b"payload=" + b"%22" * (20 << 20)
    (await served.deliver(fits, Content_Type=FORM)).expect(202)
    (row,) = await served.rows("SELECT body_bytes FROM deliveries")
    assert row["body_bytes"] == len(fits)
    too_large = b"payload=" + b"%22" * (1 << 20) + b"a" * (25 << 20)
    answer = (await served.deliver(too_large, Content_Type=FORM)).expect(413)
    assert answer.json["detail"] == f"A body may have {25 << 20} bytes here."
    (await served.deliver(b"payload=" + b"a" * (25 << 20), Content_Type=FORM)).expect(202)
    (await served.deliver(b"a=" + b"b" * (25 << 20), Content_Type=FORM)).expect(413)
    (await served.deliver(b"payload=" + b"%22" * (26 << 20), Content_Type=FORM)).expect(413)
    assert await served.count("deliveries") == 2


async def test_a16_a_large_form_needs_its_signature_too(served: Serving) -> None:
    (await served.deliver(b"payload=" + b"%22" * (9 << 20), Content_Type=FORM, secret="wrong")).expect(401)


@pytest.mark.parametrize(
    ("name", "value"),
    [("Content_Type", "text/plain"), ("Content_Type", "application/xml"), ("Content_Encoding", "gzip")],
)
async def test_other_contents_are_refused(served: Serving, name: str, value: str) -> None:
    (await served.deliver(BODY, **{name: value})).expect(415)


async def test_gitea_signs_with_its_own_header(served: Serving) -> None:
    digits = hmac.new(GITEA_SECRET.encode(), BODY, "sha256").hexdigest()
    headers = {"Content-Type": "application/json", "X-Gitea-Event": "push", "X-Gitea-Delivery": "g-1"}
    for number, signed in enumerate(
        ({"X-Gitea-Signature": digits}, {"X-Hub-Signature-256": f"sha256={digits}"})
    ):
        sent = headers | signed | {"X-Gitea-Delivery": f"g-{number}"}
        (await served.anonymous.request("POST", "/webhooks/gitea", raw=BODY, headers=sent)).expect(202)
    assert {row["source"] for row in await served.rows("SELECT source FROM deliveries")} == {"gitea"}
    assert (
        await served.count("deliveries") == 2
    )  # Gitea's delivery ids are trusted, so the same body is no replay


async def test_a_body_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(served: Serving) -> None:
    body = b'"' + b"x" * (25 * MEBIBYTE - 2) + b'"'
    (await served.deliver(body)).expect(202)
    (await served.deliver(body + b" ")).expect(413)
    assert [row["body_bytes"] for row in await served.rows("SELECT body_bytes FROM deliveries")] == [
        25 * MEBIBYTE
    ]


class TestARepositorysOwnHook:
    async def test_only_its_own_secret_counts(self, served: Serving) -> None:
        repository = await served.repository(forge_id=42, webhook_secret="of its own")
        path = f"/webhooks/github/{repository['hook_key']}"
        assert repository["webhook_url"] == served.url + path

        (await served.deliver(BODY, path=path)).expect(401)
        (await served.deliver(BODY, secret="of its own")).expect(401)
        (await served.deliver(BODY, path=path, secret="of its own")).expect(202)
        (row,) = await served.rows("SELECT hook_key FROM deliveries")
        assert row["hook_key"] == repository["hook_key"]

    async def test_an_unknown_key_is_answered_like_a_wrong_signature(self, served: Serving) -> None:
        repository = await served.repository(webhook_secret="of its own")
        unknown = await served.deliver(BODY, path="/webhooks/github/nobody")
        wrong = await served.deliver(BODY, path=f"/webhooks/github/{repository['hook_key']}")
        assert (unknown.status, unknown.raw) == (wrong.status, wrong.raw) == (401, wrong.raw)

    async def test_the_key_belongs_to_its_forge(self, served: Serving) -> None:
        repository = await served.repository(forge="gitea", webhook_secret="of its own")
        (
            await served.deliver(BODY, path=f"/webhooks/github/{repository['hook_key']}", secret="of its own")
        ).expect(401)

    async def test_a_repository_without_a_secret_has_no_hook_of_its_own(self, served: Serving) -> None:
        repository = await served.repository()
        assert repository["webhook_url"] == f"{served.url}/webhooks/github"
        await served.gateway.hook_secrets.refresh()  # before the first refresh every hook key gets a 503
        (await served.deliver(BODY, path=f"/webhooks/github/{repository['hook_key']}")).expect(401)

    @pytest.mark.parametrize("as_form", [False, True])
    async def test_it_does_not_speak_for_another_repository(self, served: Serving, as_form: bool) -> None:
        repository = await served.repository(forge_id=42, webhook_secret="of its own")
        other = to_bytes(push(FakeRepository("octo/web", forge_id=43)))
        body, headers = (
            (
                urlencode({"payload": other.decode()}).encode(),
                {"Content_Type": "application/x-www-form-urlencoded"},
            )
            if as_form
            else (other, {})
        )
        (
            await served.deliver(
                body, path=f"/webhooks/github/{repository['hook_key']}", secret="of its own", **headers
            )
        ).expect(403)
        assert await served.count("deliveries") == 0

    async def test_the_name_decides_while_the_forge_id_is_not_known(self, served: Serving) -> None:
        repository = await served.repository("Octo/Web", webhook_secret="of its own")
        path = f"/webhooks/github/{repository['hook_key']}"
        (await served.deliver(BODY, path=path, secret="of its own")).expect(202)
        (
            await served.deliver(to_bytes(push(FakeRepository("octo/other"))), path=path, secret="of its own")
        ).expect(403)

    async def test_a_new_secret_counts_at_once(self, served: Serving) -> None:
        repository = await served.repository("octo/web", webhook_secret="of its own")
        path = f"/webhooks/github/{repository['hook_key']}"
        (
            await served.admin.request(
                "PATCH", f"/repositories/{repository['id']}", {"webhook_secret": "the next one"}
            )
        ).expect(200)
        (await served.deliver(BODY, path=path, secret="of its own")).expect(401)
        (await served.deliver(BODY, path=path, secret="the next one")).expect(202)
        (await served.admin.delete(f"/repositories/{repository['id']}")).expect(204)
        (await served.deliver(BODY, path=path, secret="the next one", X_GitHub_Delivery=str(uuid4()))).expect(
            401
        )


async def test_f67_one_bad_row_harms_no_other(served: Serving) -> None:
    """The database refuses one delivery of a batch. The others are accepted."""
    await served.rows("ALTER TABLE deliveries ADD CONSTRAINT no_bad_ones CHECK (delivery_id <> 'bad')")
    bodies = [to_bytes(push(FakeRepository("octo/web"))) for _ in range(20)]
    ids = ["bad" if number == 7 else f"good-{number}" for number in range(20)]
    answers = await asyncio.gather(
        *(served.deliver(body, X_GitHub_Delivery=one) for body, one in zip(bodies, ids, strict=True))
    )
    assert [answer.status for answer in answers] == [422 if one == "bad" else 202 for one in ids]
    assert await served.count("deliveries") == 19
