"""X13: headers that occur twice in a request, so that two readers may understand it differently."""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.harness.github import signed_headers
from tests.integration.gateway.serving import GITHUB_SECRET, Serving

BODY = b'{"zen": "x"}'


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def ask(served: Serving, path: str, headers: list[tuple[str, str]], body: bytes) -> tuple[int, str]:
    """Send a request and return its status and the kind of problem.

    aiohttp's client would not send every request unchanged.
    """
    to = urlsplit(served.url)
    reader, writer = await asyncio.open_connection(to.hostname, to.port)
    lines = [f"POST {path} HTTP/1.1", "Host: towpath", f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    head, _, answer = (await asyncio.wait_for(reader.read(), 20)).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), json.loads(answer).get("type", "").rpartition(":")[2]


def webhook(*more: tuple[str, str]) -> list[tuple[str, str]]:
    return [*signed_headers(GITHUB_SECRET, BODY, event="ping").items(), *more]


@pytest.mark.parametrize(
    "values",
    [
        ("identity", "gzip"),
        ("gzip", "identity"),
        ("", "gzip"),
        ("identity", "identity, gzip"),
        ("identity,gzip",),
        ("identity", "br"),
    ],
)
async def test_x13_a_doubled_content_encoding_is_refused(served: Serving, values: tuple[str, ...]) -> None:
    encodings = [("Content-Encoding", value) for value in values]
    assert (await ask(served, "/webhooks/github", webhook(*encodings), BODY))[0] in {400, 415}
    token = [("Authorization", f"Bearer {served.admin.token}"), ("Content-Type", "application/json")]
    text = json.dumps({"yaml_config": "a: 1"}).encode()
    assert (await ask(served, "/pipelines/validate", [*token, *encodings], text))[0] in {400, 415}


async def test_x13_no_encoding_is_still_none(served: Serving) -> None:
    assert await ask(served, "/webhooks/github", webhook(("Content-Encoding", "identity")), BODY) == (200, "")
    assert await ask(served, "/webhooks/github", webhook(), BODY) == (200, "")


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Hub-Signature-256", f"sha256={'0' * 64}"),
        ("X-GitHub-Event", "push"),
        ("X-GitHub-Delivery", "another"),
    ],
)
async def test_x13_a_doubled_header_of_a_webhook_is_refused(served: Serving, name: str, other: str) -> None:
    for headers in (webhook((name, other)), [(name, other), *webhook()]):
        assert (await ask(served, "/webhooks/github", headers, BODY))[0] in {400, 401, 415, 422}, headers


@pytest.mark.parametrize("order", [1, -1])
async def test_x13_a_doubled_token_is_refused(served: Serving, order: int) -> None:
    _, person = await served.person()
    tokens = [("Authorization", f"Bearer {token}") for token in (person.token, served.admin.token)][::order]
    found = await ask(
        served,
        "/pipelines/validate",
        [*tokens, ("Content-Type", "application/json")],
        b'{"yaml_config": "a: 1"}',
    )
    assert found[0] in {400, 401}
