"""Messages of committed transactions are published at least once, even if processes die.

Messages of transactions that were rolled back are never published.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest
from pydantic import SecretStr

from devstack.servers import Servers
from shared.database.store import Database, Queries, Store, Work, open_database
from shared.errors import Transient
from shared.messaging import topology
from shared.messaging.bus import Bus, open_bus
from shared.messaging.messages import AttemptReady, CommandRequested, Message, RunCreated
from shared.messaging.outbox import OutboxRelay
from shared.messaging.raw_consumer import Arrived
from shared.settings import BusSettings, DatabaseSettings
from tests.harness.waiting import until
from tests.integration.shared.running import running

pytestmark = pytest.mark.containers

NO_QUERIES = Queries("")


class Heard:
    """Collects the command ids that a consumer received."""

    def __init__(self) -> None:
        self.command_ids: list[int] = []

    async def hear(self, messages: Sequence[CommandRequested]) -> None:
        self.command_ids += [command_id for message in messages for command_id in message.command_ids]


@pytest.fixture
async def heard(bus: Bus) -> AsyncIterator[Heard]:
    ears = Heard()
    async with running(bus.consumer(topology.SCHEDULER_COMMANDS, ears.hear)):
        yield ears


def store_of(database: Database, relay: OutboxRelay | None) -> Store[Work]:
    return Store(database, NO_QUERIES, Work, owner="gateway", relay=relay)


async def say(store: Store[Work], *messages: Message) -> None:
    async with store.transaction() as work:
        work.send(*messages)


async def _say_and_fail(store: Store[Work]) -> None:
    async with store.transaction() as work:
        work.send(CommandRequested(command_ids=(1,)))
        raise KeyError("no")


async def unsent(database: Database) -> int:
    async with database.connection() as connection:
        return int(await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL"))


async def let_claims_run_out(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute(
            "UPDATE outbox SET claimed_until = now() - interval '1 second' WHERE sent_at IS NULL"
        )


async def all_sent(database: Database) -> bool:
    return await unsent(database) == 0


async def test_what_is_committed_is_published_at_once_and_marked(
    database: Database, bus: Bus, heard: Heard
) -> None:
    relay = OutboxRelay(database, bus, "gateway")
    async with running(relay):
        await say(store_of(database, relay), CommandRequested(command_ids=(1,)), RunCreated(run_ids=(9,)))
        await until(lambda: _are(heard, [1]), within=5, what="heard")
        await until(lambda: all_sent(database), within=5, what="marked")


async def _any(heard: Heard) -> bool:
    return bool(heard.command_ids)


async def _are(heard: Heard, command_ids: list[int]) -> bool:
    return sorted(heard.command_ids) == command_ids


async def test_what_is_rolled_back_is_never_published(database: Database, bus: Bus, heard: Heard) -> None:
    relay = OutboxRelay(database, bus, "gateway")
    store = store_of(database, relay)
    async with running(relay):
        with pytest.raises(KeyError):
            await _say_and_fail(store)
        await say(store, CommandRequested(command_ids=(2,)))
        await until(lambda: _are(heard, [2]), within=5, what="heard")
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox") == 1


async def test_what_a_dead_process_left_is_published_by_another_when_its_claim_has_run_out(
    database: Database, bus: Bus, heard: Heard
) -> None:
    await say(store_of(database, None), *(CommandRequested(command_ids=(n,)) for n in range(50)))
    async with running(OutboxRelay(database, bus, "gateway")), running(OutboxRelay(database, bus, "gateway")):
        started = time.monotonic()
        await until(lambda: _any(heard), within=15, what="heard something")
        assert time.monotonic() - started > 3  # the writer's claim of the rows lasts 5 s
        await until(lambda: _are(heard, list(range(50))), within=15, what="heard")
        await until(lambda: all_sent(database), within=5, what="marked")


async def test_a_service_publishes_only_its_own_rows(database: Database, bus: Bus, heard: Heard) -> None:
    await say(store_of(database, None), CommandRequested(command_ids=(1,)))
    await let_claims_run_out(database)
    relay = OutboxRelay(database, bus, "scheduler")
    async with running(relay):
        await say(
            Store(database, NO_QUERIES, Work, owner="scheduler", relay=relay),
            CommandRequested(command_ids=(2,)),
        )
        await until(lambda: _are(heard, [2]), within=5, what="heard")
        await until(lambda: _count(database, 1), within=5, what="only its own is marked")


async def test_when_the_mark_is_lost_it_is_published_again(
    database: Database, bus: Bus, heard: Heard
) -> None:
    await bus.publish(message := CommandRequested(command_ids=(1,)))
    await say(store_of(database, None), message)  # as after a crash between confirm and mark
    await let_claims_run_out(database)
    async with running(OutboxRelay(database, bus, "gateway")):
        await until(lambda: _are(heard, [1, 1]), within=5, what="heard twice")
        await until(lambda: all_sent(database), within=5, what="marked")


async def test_f10_ids_committed_out_of_order_are_both_published(
    database: Database, bus: Bus, heard: Heard
) -> None:
    store = store_of(database, None)
    async with running(OutboxRelay(database, bus, "gateway")):
        async with database.transaction() as connection:
            first = Work(connection, NO_QUERIES)
            first.send(CommandRequested(command_ids=(1,)))
            await store._store_outgoing(connection, first.outgoing)
            await say(store, CommandRequested(command_ids=(2,)))  # a later id, committed earlier
            await let_claims_run_out(database)
            await until(lambda: _are(heard, [2]), within=5, what="the later one heard")
            await until(
                lambda: all_sent(database), within=5, what="and marked"
            )  # the earlier one is not visible yet
        await let_claims_run_out(database)
        await until(lambda: _are(heard, [1, 2]), within=5, what="both heard")


async def test_a_message_that_no_queue_takes_stays_and_harms_no_other(
    database: Database, bus: Bus, heard: Heard
) -> None:
    relay = OutboxRelay(database, bus, "gateway")
    async with running(relay):
        await say(
            store_of(database, relay),
            *(AttemptReady(cluster="nowhere", jobs=((n, 1),)) for n in range(300)),
            CommandRequested(command_ids=(1,)),
        )
        await until(lambda: _are(heard, [1]), within=10, what="heard")
        await until(lambda: _count(database, 300), within=10, what="the others wait")


async def _count(database: Database, wanted: int) -> bool:
    return await unsent(database) == wanted


async def test_rows_left_while_the_broker_was_away_are_published_when_it_is_back(
    breakable_servers: Servers, breakable_database_url: str, breakable_amqp_url: str
) -> None:
    settings = BusSettings(amqp_url=SecretStr(breakable_amqp_url))
    ears = Heard()
    async with (
        open_database(DatabaseSettings(database_url=SecretStr(breakable_database_url))) as database,
        open_bus(settings, "test") as bus,
    ):
        relay = OutboxRelay(database, bus, "gateway")
        async with running(relay, bus.consumer(topology.SCHEDULER_COMMANDS, ears.hear)):
            await say(store_of(database, relay), CommandRequested(command_ids=(1,)))
            await until(lambda: _are(ears, [1]), within=10, what="heard before")
            await until(lambda: all_sent(database), within=5, what="marked")
            await asyncio.to_thread(breakable_servers.rabbit.kill)
            with pytest.raises(Transient):
                await bus.publish(RunCreated(run_ids=(1,)))
            await say(store_of(database, relay), CommandRequested(command_ids=(2,)))
            await asyncio.to_thread(breakable_servers.rabbit.start)
            await until(lambda: _are(ears, [1, 2]), within=30, what="heard after")


@pytest.mark.parametrize(
    "body", [b'{"type": "meteor.fallen", "id": 1}', b'{"type": "command.requested"}', b"no json", b""]
)
async def test_a_row_that_this_release_cannot_read_is_laid_aside_and_holds_up_no_other(
    database: Database, bus: Bus, heard: Heard, body: bytes
) -> None:
    aside: list[bytes] = []

    async def keep(arrived: Sequence[Arrived]) -> None:
        aside.extend(one.body for one in arrived)

    async def laid_aside() -> bool:
        return aside == [body]

    async with database.connection() as connection:
        await connection.execute(
            "INSERT INTO outbox (owner, type, message, claimed_until) VALUES ('gateway', 'meteor.fallen', "
            "$1, now())",
            body,
        )
    await say(store_of(database, None), CommandRequested(command_ids=(1,)))
    await let_claims_run_out(database)
    async with (
        running(OutboxRelay(database, bus, "gateway")),
        running(bus.raw_consumer(topology.OUTBOX_UNREADABLE, keep)),
    ):
        await until(lambda: _are(heard, [1]), within=5, what="the other one heard")
        await until(laid_aside, within=5, what="laid aside")
        await until(lambda: all_sent(database), within=5, what="marked")
