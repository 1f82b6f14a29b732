"""An accepted webhook is durable.

Webhooks are accepted while Postgres or RabbitMQ is up. Otherwise they are refused in time.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack.servers import Servers
from tests.harness.github import FakeRepository, push, to_bytes
from tests.harness.waiting import until
from tests.integration.gateway.serving import Serving, make_settings, serving

pytestmark = pytest.mark.containers

MEBIBYTE = 1 << 20


pytestmark = pytest.mark.alone("webhooks are accepted or refused within fixed times")


@pytest.fixture
async def fragile(
    breakable_database_url: str, breakable_amqp_url: str, tmp_path: Path
) -> AsyncIterator[Serving]:
    async with serving(
        make_settings(breakable_database_url, breakable_amqp_url, tmp_path, database_wait_seconds=0.8), None
    ) as running:
        (await running.deliver(new_body())).expect(202)
        yield running


def new_body() -> bytes:
    return to_bytes(push(FakeRepository("octo/web")))


async def stored(served: Serving, count: int) -> bool:
    """Return whether this many deliveries are stored. Return False while Postgres does not answer."""
    try:
        return await served.count("deliveries") == count
    except OSError:
        return False


async def test_while_postgres_is_down_deliveries_wait_in_the_inlet(
    fragile: Serving, breakable_servers: Servers
) -> None:
    await asyncio.to_thread(breakable_servers.postgres.stop)
    answers = [await fragile.deliver(new_body(), X_GitHub_Delivery=f"d-{number}") for number in range(10)]
    repeated = await fragile.deliver(new_body(), X_GitHub_Delivery="d-0")
    await asyncio.to_thread(breakable_servers.postgres.start)

    assert [answer.status for answer in answers] == [202] * 10
    assert repeated.status == 202
    assert await until(lambda: stored(fragile, 11), within=20, what="the inlet's deliveries in the record")
    kept = await fragile.rows("SELECT * FROM deliveries WHERE via_inlet ORDER BY id")
    assert {row["delivery_id"] for row in kept} == {f"d-{number}" for number in range(10)}
    assert all(row["received_at"] < row["created_at"] for row in kept)
    named = await fragile.rows("SELECT count(*) FROM outbox")
    assert named[0][0] >= 2


async def test_while_postgres_hangs_the_answer_comes_in_time(
    fragile: Serving, breakable_servers: Servers
) -> None:
    breakable_servers.postgres.pause()
    started = time.monotonic()
    answers = await asyncio.gather(*(fragile.deliver(new_body()) for _ in range(20)))
    took = time.monotonic() - started
    breakable_servers.postgres.resume()

    assert {answer.status for answer in answers} == {202}
    assert took < 2
    assert await until(lambda: stored(fragile, 21), within=20, what="all deliveries, each once")


async def test_a_circuit_that_is_open_costs_no_waiting(fragile: Serving, breakable_servers: Servers) -> None:
    breakable_servers.postgres.pause()
    for _ in range(3):
        (await fragile.deliver(new_body())).expect(202)
    started = time.monotonic()
    (await fragile.deliver(new_body())).expect(202)
    assert time.monotonic() - started < 0.5
    breakable_servers.postgres.resume()
    assert await until(lambda: stored(fragile, 5), within=20, what="all deliveries, each once")


async def test_a_body_too_large_for_the_inlet_is_refused_while_postgres_is_down(
    fragile: Serving, breakable_servers: Servers
) -> None:
    await asyncio.to_thread(breakable_servers.postgres.stop)
    too_large = await fragile.deliver(b'"' + b"x" * (8 * MEBIBYTE) + b'"')
    fitting = await fragile.deliver(b'"' + b"x" * (8 * MEBIBYTE - 2) + b'"')
    await asyncio.to_thread(breakable_servers.postgres.start)

    assert too_large.expect(503).headers["retry-after"]
    fitting.expect(202)
    assert await until(lambda: stored(fragile, 2), within=20, what="the large delivery in the record")


@pytest.mark.parametrize("how", ["stop", "pause"])
async def test_with_both_away_the_answer_is_503_within_two_seconds(
    fragile: Serving, breakable_servers: Servers, how: str
) -> None:
    await asyncio.gather(
        *(
            asyncio.to_thread(getattr(server, how))
            for server in (breakable_servers.postgres, breakable_servers.rabbit)
        )
    )
    started = time.monotonic()
    answer = await fragile.deliver(new_body())
    took = time.monotonic() - started
    can_accept = await fragile.gateway.acceptance.can_accept() if how == "stop" else False
    breakable_servers.postgres.resume()
    breakable_servers.rabbit.resume()
    await asyncio.to_thread(breakable_servers.start)

    assert answer.expect(503).headers["retry-after"]
    assert took < 2
    assert not can_accept

    async def accepts() -> bool:
        return (await fragile.deliver(new_body())).status == 202

    assert await until(accepts, within=20, what="acceptance after the return")


async def test_while_rabbitmq_is_down_webhooks_are_accepted(
    fragile: Serving, breakable_servers: Servers
) -> None:
    await asyncio.to_thread(breakable_servers.rabbit.stop)
    answers = await asyncio.gather(*(fragile.deliver(new_body()) for _ in range(20)))
    await asyncio.to_thread(breakable_servers.rabbit.start)

    assert {answer.status for answer in answers} == {202}

    async def all_sent() -> bool:
        return await fragile.count("outbox WHERE sent_at IS NULL") == 0

    assert await until(all_sent, within=30, what="the messages of all deliveries")


async def test_the_api_says_that_the_record_is_away(fragile: Serving, breakable_servers: Servers) -> None:
    await asyncio.to_thread(breakable_servers.postgres.stop)
    answer = await fragile.admin.get("/pipelines")
    assert await fragile.gateway.acceptance.can_accept()
    await asyncio.to_thread(breakable_servers.postgres.start)
    assert answer.expect(503).headers["retry-after"]
    assert answer.headers["content-type"] == "application/problem+json"


async def test_hook_secrets_outlive_postgres_but_are_not_guessed_without_it(
    breakable_database_url: str, breakable_amqp_url: str, breakable_servers: Servers, tmp_path: Path
) -> None:
    settings = make_settings(breakable_database_url, breakable_amqp_url, tmp_path)
    async with serving(settings, None) as first:
        repository = await first.repository("octo/web", webhook_secret="of its own")
        path, token = f"/webhooks/github/{repository['hook_key']}", first.admin.token
        await asyncio.to_thread(breakable_servers.postgres.stop)
        (await first.deliver(new_body(), path=path, secret="of its own")).expect(202)
    async with serving(settings, token) as second:
        (await second.deliver(new_body(), path=path, secret="of its own")).expect(503)
        (await second.deliver(new_body())).expect(202)
        await asyncio.to_thread(breakable_servers.postgres.start)

        async def accepts() -> bool:
            return (await second.deliver(new_body(), path=path, secret="of its own")).status == 202

        assert await until(accepts, within=20, what="the secrets")
