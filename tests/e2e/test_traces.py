"""One trace id connects a webhook or a command with all work that follows, even if all queues are wiped."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aio_pika
import asyncpg
import pytest

from shared.messaging import topology
from shared.messaging.bus import declare_queue
from tests.e2e.conftest import installation
from tests.harness.github import FakeRepository, push
from tests.harness.installation import Towpath, one_job
from tests.harness.waiting import until

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
RETRY_TRACE_ID = "c0ffee" + "1" * 26
EVENTS = {
    "gateway": "delivery_accepted",
    "scheduler": "run_inserted",
    "executor": "attempt_finished",
    "logsink": "log_sealed",
}
"""A log line of each service about the work of one webhook."""
QUEUES = (
    topology.SCHEDULER_DELIVERIES,
    topology.SCHEDULER_COMMANDS,
    topology.SCHEDULER_ATTEMPTS,
    topology.LOGSINK_CONTAINERS,
    topology.executor_queue("local"),
)


class Stages:
    """An installation whose services run one after the other, and whose queues are purged in between."""

    def __init__(self, towpath: Towpath, amqp_url: str, sql: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.towpath = towpath
        self.sql = sql
        self._amqp_url = amqp_url

    async def stop(self, *services: str) -> None:
        """Stop services that have published everything that they stored."""

        async def published() -> bool:
            waiting = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND owner = ANY($1)"
            return not await self.sql.fetchval(waiting, services)

        await until(published, within=20, what="an empty outbox")
        for service in services:
            await asyncio.to_thread(self.towpath.stack.stop, service)

    async def purge(self, *expected: topology.Queue) -> None:
        """Purge all queues. These must have messages."""
        async with await aio_pika.connect(self._amqp_url) as connection:
            channel = await connection.channel()
            for queue in QUEUES:
                purged = await (await declare_queue(channel, queue)).purge()
                assert queue not in expected or purged.message_count, queue.name

    async def until_stored(self, query: str) -> None:
        async def stored() -> bool:
            return bool(await self.sql.fetchval(query))

        await until(stored, within=30, what=query)

    async def until_logged(self, service: str, event: str) -> list[dict[str, Any]]:
        async def logged() -> list[dict[str, Any]] | None:
            lines = self.lines(service)
            return lines if any(line["event"] == event for line in lines) else None

        return await until(logged, within=10, what=f"{event} of {service}")

    def lines(self, service: str) -> list[dict[str, Any]]:
        """Return the log lines of a service that have a trace."""
        text = self.towpath.stack.log(service).read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
        return [line for line in lines if "trace_id" in line]


@pytest.fixture
async def stages(database_url: str, amqp_url: str) -> AsyncIterator[Stages]:
    quick = {"TOWPATH_RECONCILE_SECONDS": "0.5", "TOWPATH_RECONCILE_AGE_SECONDS": "0.1"}
    sql = await asyncpg.connect(database_url)
    try:
        async with installation(database_url, amqp_url, TOWPATH_LOG_LEVEL="debug", **quick) as towpath:
            yield Stages(towpath, amqp_url, sql)
    finally:
        await sql.close()


async def run_in_stages(
    stages: Stages, repository: FakeRepository, pipeline: dict[str, Any]
) -> tuple[str, Any]:
    """Deliver a push, and wipe all queues at each stage of its run. Return the delivery's id and the run."""
    towpath = stages.towpath
    await stages.stop("scheduler", "executor", "logsink")
    delivered = await towpath.deliver(push(repository), headers={"traceparent": TRACEPARENT})
    delivery_id = delivered.expect(202).json["delivery_id"]
    await stages.stop()
    await stages.purge(topology.SCHEDULER_DELIVERIES)
    await towpath.restart("scheduler")
    await stages.until_stored("SELECT count(*) FROM jobs WHERE admitted_at IS NOT NULL")
    await stages.stop("scheduler")
    await stages.purge(topology.executor_queue("local"))
    await towpath.restart("executor")
    await stages.until_stored("SELECT count(*) FROM attempts WHERE status = 'finished'")
    await stages.stop("executor")
    await stages.purge(topology.SCHEDULER_ATTEMPTS, topology.LOGSINK_CONTAINERS)
    for service in ("logsink", "scheduler", "executor"):
        await towpath.restart(service)
    return delivery_id, await towpath.only_run(pipeline)


async def test_one_trace_leads_from_a_webhook_to_the_sealed_log_although_all_queues_are_wiped(
    stages: Stages,
) -> None:
    towpath = stages.towpath
    person = await towpath.person()
    repository = await towpath.repository(person)
    pipeline = await towpath.pipeline(person, one_job(repository, "exit 3"))
    delivery_id, run = await run_in_stages(stages, repository, pipeline)

    assert (run["status"], run["trace_id"]) == ("failed", TRACE_ID)
    shown = (await towpath.admin.get(f"/deliveries/{delivery_id}")).expect(200).json
    assert shown["trace_id"] == TRACE_ID
    for table in ("deliveries", "pipeline_runs", "attempts"):
        [row] = await stages.sql.fetch(f"SELECT traceparent FROM {table}")
        assert row[0].startswith(f"00-{TRACE_ID}-"), table
        assert row[0].endswith("-01"), table
    for service, event in EVENTS.items():
        lines = await stages.until_logged(service, event)
        # The gateway's other lines are about the requests of this test.
        assert {line["trace_id"] for line in lines if service != "gateway"} <= {TRACE_ID}, service
        assert [line["trace_id"] for line in lines if line["event"] == event] == [TRACE_ID], service

    retried = await towpath.admin.post(
        f"/runs/{run['id']}/retry", headers={"traceparent": f"00-{RETRY_TRACE_ID}-{'5' * 16}-00"}
    )
    again = await towpath.finished(retried.expect(201).json["id"], sealed=True)
    assert again["trace_id"] == RETRY_TRACE_ID
    assert (await towpath.admin.get(f"/runs/{run['id']}")).json["trace_id"] == TRACE_ID
    commands = await stages.sql.fetch("SELECT traceparent FROM commands")
    assert [row[0][3:35] for row in commands] == [RETRY_TRACE_ID]
    for service in ("scheduler", "executor", "logsink"):
        traces = {line["trace_id"] for line in stages.lines(service)}
        assert traces == {TRACE_ID, RETRY_TRACE_ID}, service
    await each_message_has_the_trace_of_its_ids(stages)


async def each_message_has_the_trace_of_its_ids(stages: Stages) -> None:
    """Check the stored messages about attempts against the rows of these attempts."""
    rows = await stages.sql.fetch("SELECT id, traceparent FROM attempts")
    traces = {row["id"]: row["traceparent"] for row in rows}
    checked = 0
    for row in await stages.sql.fetch("SELECT message FROM outbox WHERE type LIKE 'attempt.%ed'"):
        message = json.loads(row["message"])
        assert {traces[one] for one in message["attempt_ids"]} == {message["traceparent"]}
        checked += 1
    assert checked >= 4
