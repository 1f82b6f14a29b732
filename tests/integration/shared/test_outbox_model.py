"""Compares the outbox with a model.

After any sequence of commits, rollbacks, failures and crashes, all committed messages are published, and no
others.
"""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.database.store import Database, Queries, Store, Work
from shared.errors import Transient
from shared.messaging.messages import CommandRequested, Message
from shared.messaging.outbox import OutboxRelay


class Dropped(Exception):
    """Raised to make the block of a transaction fail."""


@dataclass
class Broker:
    """A broker in memory. If `confirms` is False, messages arrive but are not confirmed."""

    is_up: bool = True
    confirms: bool = True
    published: list[int] = field(default_factory=list)

    async def answers(self) -> bool:
        return self.is_up

    async def publish(self, message: Message) -> None:
        if not self.is_up:
            raise Transient("away")
        assert isinstance(message, CommandRequested)
        self.published += message.command_ids
        if not self.confirms:
            raise Transient("not confirmed")


class System:
    """Processes that write messages and relay them, with one table and one broker."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.broker = Broker()
        self.committed: set[int] = set()
        self.next_id = 1
        self.relay = self._process()

    def _process(self) -> OutboxRelay:
        broker: Any = self.broker  # has the methods of a bus that a relay calls
        return OutboxRelay(self.database, broker, "gateway")

    async def commit(self) -> None:
        await self._write(fails=False)
        self.committed.add(self.next_id - 1)

    async def roll_back(self) -> None:
        try:
            await self._write(fails=True)
        except Dropped:
            return

    async def _write(self, *, fails: bool) -> None:
        command_id, self.next_id = self.next_id, self.next_id + 1
        async with Store(
            self.database, Queries(""), Work, owner="gateway", relay=self.relay
        ).transaction() as work:
            work.send(CommandRequested(command_ids=(command_id,)))
            if fails:
                raise Dropped

    async def publish(self) -> None:
        """Publish the messages that were handed over, if the broker takes them."""
        taken = [self.relay._waiting.popleft() for _ in range(len(self.relay._waiting))]
        if taken:
            await self.relay._publish(taken)

    async def mark(self) -> None:
        await self.relay._mark()

    async def check(self) -> None:
        await self.relay._claim_left_rows()

    async def die(self) -> None:
        """Replace the process by another. Everything in its memory is lost."""
        self.relay = self._process()

    async def let_claims_run_out(self) -> None:
        async with self.database.connection() as connection:
            await connection.execute(
                "UPDATE outbox SET claimed_until = now() - interval '1 second' WHERE sent_at IS NULL"
            )

    async def lose_the_broker(self) -> None:
        self.broker.is_up = False

    async def lose_confirms(self) -> None:
        self.broker.is_up, self.broker.confirms = True, False

    async def repair_the_broker(self) -> None:
        self.broker.is_up = self.broker.confirms = True


STEPS = [
    System.commit,
    System.roll_back,
    System.publish,
    System.mark,
    System.check,
    System.die,
    System.let_claims_run_out,
]
STEPS += [System.lose_the_broker, System.lose_confirms, System.repair_the_broker]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.sampled_from(STEPS), max_size=40))
async def test_what_is_committed_is_published_in_the_end_and_nothing_else(
    database: Database, steps: list[object]
) -> None:
    async with database.connection() as connection:
        await connection.execute("TRUNCATE outbox")
    system = System(database)
    for step in steps:
        await step(system)  # type: ignore[operator]  # one of STEPS
        assert set(system.broker.published) <= system.committed
    for step in (
        System.repair_the_broker,
        System.let_claims_run_out,
        System.check,
        System.publish,
        System.mark,
    ):
        await step(system)
    assert set(system.broker.published) == system.committed
    async with database.connection() as connection:
        assert await connection.fetchval("SELECT count(*) FROM outbox WHERE sent_at IS NULL") == 0
        assert await connection.fetchval("SELECT count(*) FROM outbox") == len(system.committed)
