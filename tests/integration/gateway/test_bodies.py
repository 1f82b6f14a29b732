"""Request bodies are limited in size, time and memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.harness.github import signature
from tests.integration.gateway.serving import GITHUB_SECRET, Serving, make_settings, serving

MEBIBYTE = 1 << 20


@pytest.fixture
async def impatient(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Serving]:
    """Yield a gateway that waits 0.5 s for a body and holds at most 3 MiB of bodies at once."""
    settings = make_settings(
        database_url, amqp_url, tmp_path, body_seconds=0.5, body_memory_bytes=3 * MEBIBYTE
    )
    async with serving(settings, None) as running:
        yield running


def headers(body: bytes = b"{}") -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": "d-1",
        "X-Hub-Signature-256": signature(GITHUB_SECRET, body),
    }


async def post(
    served: Serving, data: object, path: str = "/webhooks/github", more: dict[str, str] | None = None
) -> int:
    async with served.session.post(
        served.url + path, data=data, headers=headers() | (more or {})
    ) as response:
        assert response.content_type == "application/problem+json"
        return response.status


async def drip() -> AsyncIterator[bytes]:
    while True:
        yield b"x"
        await asyncio.sleep(0.05)


async def flood() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 65536


async def test_a_body_that_never_ends_is_given_up(impatient: Serving) -> None:
    assert await post(impatient, drip()) == 408


async def test_a_slow_body_of_the_api_is_given_up_too(impatient: Serving) -> None:
    assert (
        await post(impatient, drip(), "/pipelines", {"Authorization": f"Bearer {impatient.admin.token}"})
        == 408
    )


async def test_a_flood_is_refused_before_it_fills_the_memory(impatient: Serving) -> None:
    try:
        status = await post(impatient, flood())
    except aiohttp.ClientError:
        status = None  # refused while still sending
    assert status in {None, 413, 503}
    (await impatient.deliver(b"{}")).expect(202)


async def test_together_bodies_hold_a_bounded_memory(impatient: Serving) -> None:
    """A large body waits for memory, for at most the time that a body may take to arrive."""
    body = b'"' + b"x" * (2 * MEBIBYTE) + b'"'
    with impatient.gateway.memory.share("elsewhere") as others:
        impatient.gateway.memory.count(others, MEBIBYTE)
        refused = (await impatient.deliver(body, X_GitHub_Delivery="d-1")).expect(503)
        assert "TOWPATH_BODY_MEMORY_BYTES" in refused.json["detail"]
        (await impatient.deliver(b"{}", X_GitHub_Delivery="d-2")).expect(202)
    (await impatient.deliver(body, X_GitHub_Delivery="d-1")).expect(202)


async def test_the_apis_bodies_have_a_smaller_limit(served: Serving) -> None:
    (await served.admin.post("/pipelines/validate", raw=b" " * MEBIBYTE + b"{}")).expect(413)
    (
        await served.admin.post("/pipelines/validate", raw=b'{"yaml_config": ""}' + b" " * (MEBIBYTE - 19))
    ).expect(200)


async def test_a_compressed_body_is_refused(served: Serving) -> None:
    (await served.admin.post("/pipelines", raw=b"x", headers={"Content-Encoding": "gzip"})).expect(415)
