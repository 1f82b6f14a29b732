"""Messages and their effects are stored atomically.

A message is stored in the same transaction as the effect that it reports. A received message is acknowledged
after the effect of its handler is stored.
"""

import asyncio
from collections.abc import Sequence

from pydantic import SecretStr

from shared.database.store import Database, Queries, Store, Work
from shared.messaging.bus import Bus, open_bus
from shared.messaging.messages import CommandRequested
from shared.settings import BusSettings
from tests.integration.shared.listening import QUEUE, Listener, handled, say
from tests.integration.shared.running import running

NOTE = Queries("-- name: note\nINSERT INTO audit_log (action, object) VALUES ('test', 'test');\n")


class Noting(Work):
    async def note(self) -> None:
        await self._run("note")


async def test_a_message_and_what_it_tells_of_are_one_transaction(database: Database) -> None:
    async with Store(database, NOTE, Noting, owner="gateway").transaction() as work:
        await work.note()
        work.send(CommandRequested(command_ids=(1,)))

    async with database.connection() as connection:
        effect = await connection.fetchval("SELECT xmin::text FROM audit_log")
        assert await connection.fetchval("SELECT xmin::text FROM outbox") == effect


async def test_what_a_handler_had_in_hand_when_its_process_died_is_handled_by_another(
    amqp_url: str, bus: Bus
) -> None:
    begun = asyncio.Event()

    async def never_ends(_messages: Sequence[CommandRequested]) -> None:
        begun.set()
        await asyncio.Event().wait()

    await say(bus, 1)
    async with open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "dying") as dying:
        consumer = asyncio.create_task(dying.consumer(QUEUE, never_ends).run())
        await asyncio.wait_for(begun.wait(), 10)
        await dying.close()  # to the broker, a dying process looks the same
    listener = Listener()
    async with running(bus.consumer(QUEUE, listener)):
        await handled(listener, [1], within=20)
    consumer.cancel()
    await asyncio.gather(consumer, return_exceptions=True)
