"""An accepted webhook is durable.

Webhooks are accepted while Postgres or RabbitMQ is up, and every 2xx becomes exactly one run.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from devstack.databases import create_database
from devstack.places import scratch_directory
from devstack.postgres import PostgresNode
from devstack.rabbitmq import RabbitNode
from tests.e2e.conftest import installation
from tests.harness.github import FakeRepository, push
from tests.harness.installation import Person, Towpath, one_job
from tests.harness.oracle import Oracle
from tests.harness.waiting import until


class Breakable:
    """An installation with its own servers, and a pipeline whose runs append a line to an oracle."""

    def __init__(self, towpath: Towpath, postgres: PostgresNode, rabbit: RabbitNode) -> None:
        self.towpath = towpath
        self.postgres = postgres
        self.rabbit = rabbit
        self.accepted: list[str] = []

    async def prepare(self) -> "Breakable":
        self.person: Person = await self.towpath.person()
        self.repository: FakeRepository = await self.towpath.repository(self.person)
        self.oracle: Oracle = self.towpath.oracle()
        self.pipeline = await self.towpath.pipeline(
            self.person, one_job(self.repository, self.oracle.append("$TOWPATH_SHA"))
        )
        self.accepted = []
        return self

    async def deliver(self, count: int) -> list[int]:
        """Send pushes one after another. Return the statuses.

        The SHA of each push that got a 2xx is kept in `accepted`.
        """
        statuses = []
        for _ in range(count):
            payload = push(self.repository)
            answer = await self.towpath.deliver(payload)
            statuses.append(answer.status)
            if answer.status < 300:
                self.accepted.append(payload["after"])
        return statuses

    async def every_accepted_delivery_ran_once(self, *, within: float = 60) -> None:
        async def all_green() -> bool:
            runs = await self.towpath.runs(self.pipeline)
            return len(runs) == len(self.accepted) and all(run["status"] == "success" for run in runs)

        await until(all_green, within=within, what=f"{len(self.accepted)} green runs")
        assert sorted(self.oracle.lines) == sorted(self.accepted)


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[Breakable]:
    directory = scratch_directory()
    postgres = PostgresNode(directory / "postgres")  # with fsync: committed data has to survive
    rabbit = RabbitNode(directory / "rabbitmq")
    await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(rabbit.start))
    try:
        await create_database(postgres.url("postgres"), "towpath")
        async with installation(postgres.url("towpath"), rabbit.url()) as towpath:
            yield Breakable(towpath, postgres, rabbit)
    finally:
        await asyncio.gather(asyncio.to_thread(postgres.stop), asyncio.to_thread(rabbit.stop))


@pytest.fixture
async def breakable(servers: Breakable) -> AsyncIterator[Breakable]:
    yield await servers.prepare()
    await asyncio.gather(asyncio.to_thread(servers.postgres.start), asyncio.to_thread(servers.rabbit.start))


@pytest.mark.pods("pods end while the executor can't store it")
async def test_f05_webhooks_sent_while_postgres_is_away_become_one_run_each(breakable: Breakable) -> None:
    assert await breakable.deliver(3) == [202] * 3
    await asyncio.to_thread(breakable.postgres.stop)
    during = await breakable.deliver(20)
    await asyncio.to_thread(breakable.postgres.start)

    assert during == [202] * 20
    await breakable.every_accepted_delivery_ran_once()


async def test_a_webhook_that_took_the_fallback_queue_keeps_its_trace(breakable: Breakable) -> None:
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    await asyncio.to_thread(breakable.postgres.stop)
    payload = push(breakable.repository)
    headers = {"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"}
    answer = (await breakable.towpath.deliver(payload, headers=headers)).expect(202)
    breakable.accepted.append(payload["after"])
    await asyncio.to_thread(breakable.postgres.start)

    await breakable.every_accepted_delivery_ran_once()
    path = f"/deliveries/{answer.json['delivery_id']}"
    delivery = (await breakable.towpath.admin.get(path)).expect(200).json
    assert (delivery["via_inlet"], delivery["trace_id"]) == (True, trace_id)
    [run] = await breakable.towpath.runs(breakable.pipeline)
    shown = (await breakable.towpath.admin.get(f"/runs/{run['id']}")).expect(200).json
    assert shown["trace_id"] == trace_id


async def test_webhooks_sent_while_postgres_is_killed_and_recovers_become_one_run_each(
    breakable: Breakable,
) -> None:
    sending = asyncio.create_task(breakable.deliver(60))
    await until(lambda: _true(len(breakable.accepted) > 10), within=10, what="ten deliveries")
    await asyncio.to_thread(breakable.postgres.kill)
    await asyncio.to_thread(breakable.postgres.start)
    statuses = await sending

    assert set(statuses) <= {200, 202, 503}
    await breakable.every_accepted_delivery_ran_once()


async def test_webhooks_sent_while_rabbitmq_is_away_become_one_run_each(breakable: Breakable) -> None:
    assert await breakable.deliver(3) == [202] * 3
    await asyncio.to_thread(breakable.rabbit.stop)
    during = await breakable.deliver(20)
    await asyncio.to_thread(breakable.rabbit.start)

    assert during == [202] * 20
    await breakable.every_accepted_delivery_ran_once()


async def test_with_both_away_the_answer_is_503_within_two_seconds(breakable: Breakable) -> None:
    await asyncio.gather(asyncio.to_thread(breakable.postgres.stop), asyncio.to_thread(breakable.rabbit.stop))
    started = time.monotonic()
    answer = await breakable.towpath.deliver(push(breakable.repository))
    took = time.monotonic() - started
    await asyncio.gather(
        asyncio.to_thread(breakable.postgres.start), asyncio.to_thread(breakable.rabbit.start)
    )

    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert took < 2.0
    assert (await until(lambda: _accepted(breakable), within=30, what="acceptance after the return")) is True
    await breakable.every_accepted_delivery_ran_once()


async def _accepted(breakable: Breakable) -> bool:
    return (await breakable.deliver(1)) == [202]


async def _true(value: object) -> object:
    return value
