"""The outbox relay: publishes the messages that transactions stored in table `outbox`, at least once.

Each service process runs one relay. `shared.database.store.Store` stores the messages and hands them over.

1. A transaction inserts its messages with `claimed_until` five seconds ahead, so its own process has the
   claim.
2. After COMMIT, the store passes the rows to the relay of its process (`hand_over`).
3. The relay publishes them at once, up to 256 rows concurrently. Rows that wait meanwhile are published next;
   those with the same routing key and an `ids_field` become one message with the ids of all.
4. Every 0.25 s the relay marks confirmed rows as sent. Rows that were sent over an hour ago are deleted.

Failures:
- The process dies before a row is published, or a publish is not confirmed: the claim expires, and any
  replica of the service claims the row and publishes it.
- The process dies after a confirm and before the row is marked: the row is published twice. Handlers are safe
  to repeat.
- The broker is unavailable: the rows stay in the table, and no relay claims any until the broker answers.
- A row cannot be decoded: it goes to the queue `outbox.unreadable` and from there to the dead letters.

Rows are selected by their state, never by `id > cursor`, because ids commit out of order.
"""

import asyncio
from collections import deque

import structlog
from prometheus_client import Counter, Gauge

from shared.crashpoint import crashpoint
from shared.database.store import Database, Queries
from shared.errors import Transient
from shared.messaging import topology
from shared.messaging.bus import Bus
from shared.messaging.messages import Message, decode, merged, type_of
from shared.tracing import traced

_log = structlog.get_logger()
_published = Counter("towpath_outbox_published_total", "Outbox rows published and confirmed", ["type"])
_unsent = Gauge("towpath_outbox_waiting", "Outbox rows handed over and not yet confirmed")

_queries = Queries.beside(__file__)

Rows = list[tuple[int, Message]]


def together(rows: Rows) -> list[Rows]:
    """Group the rows that one message can represent, in the order of their first rows. Pure."""
    groups: dict[object, Rows] = {}
    for row in rows:
        row_id, message = row
        groups.setdefault(message.routing_key if message.ids_field else row_id, []).append(row)
    return list(groups.values())


def _read(body: bytes) -> Message | None:
    """Return the message, or None if its type is unknown to this release or it is not a message."""
    try:
        return decode(body)
    except ValueError:
        return None


class OutboxRelay:
    """Publishes the outbox rows of one process, and those that other processes of the service left.

    `hand_over` is called after a commit. `run` publishes rows, marks them as sent, and claims expired rows.
    """

    at_once = 256
    """The most rows that are published concurrently."""
    check_seconds = 1.0
    mark_seconds = 0.25
    """The interval for marking rows as sent, well below the claim's five seconds.

    Rows that were published but not marked when a process dies are published twice.
    """
    most_waiting = 20_000

    def __init__(self, database: Database, bus: Bus, owner: str) -> None:
        self._database = database
        self._bus = bus
        self._owner = owner
        self._waiting: deque[tuple[int, Message]] = deque()
        self._woken = asyncio.Event()
        self._confirmed: list[int] = []

    def hand_over(self, rows: Rows) -> None:
        """Queue these committed rows for publishing. Never waits.

        If too many rows are queued, the relay claims these later from the table.
        """
        if len(self._waiting) < self.most_waiting:
            self._waiting.extend(rows)
            _unsent.set(len(self._waiting))
            self._woken.set()

    async def run(self) -> None:
        tasks = [
            asyncio.create_task(part()) for part in (self._publish_waiting, self._mark_confirmed, self._check)
        ]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._mark()

    async def _publish_waiting(self) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._waiting:
                taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), self.at_once))]
                _unsent.set(len(self._waiting))
                async with asyncio.TaskGroup() as publishing:
                    for rows in together(taken):
                        publishing.create_task(self._publish(rows))

    async def _publish(self, rows: Rows) -> None:
        """Publish one message for these rows.

        If the publish fails or its result is unknown, the rows stay unsent. They are published again after
        their claim has expired.
        """
        message = merged([message for _, message in rows])
        with traced(message.traceparent):
            await self._publish_one(message, [row_id for row_id, _ in rows])

    async def _publish_one(self, message: Message, row_ids: list[int]) -> None:
        crashpoint("outbox.before_publish")
        try:
            await self._bus.publish(message)
        except Transient as error:
            _log.info("outbox_publish_postponed", outbox_ids=row_ids, type=message.type, why=str(error))
            return
        crashpoint("outbox.published_not_marked")
        _published.labels(message.type).inc(len(row_ids))
        self._confirmed += row_ids

    async def _mark_confirmed(self) -> None:
        while True:
            await asyncio.sleep(self.mark_seconds)
            await self._mark()

    async def _mark(self) -> None:
        confirmed, self._confirmed = self._confirmed, []
        if not confirmed:
            return
        try:
            async with self._database.connection() as connection:
                await connection.execute(_queries["outbox_mark_sent"], confirmed)
            crashpoint("outbox.marked")
        except Transient:
            self._confirmed.extend(confirmed)

    async def _check(self) -> None:
        """Claim and publish unsent rows of this service, batch after batch while there are more.

        About every ten minutes, also delete rows that were sent over an hour ago.
        """
        checks = 0
        while True:
            try:
                found = 0
                if not self._waiting and await self._bus.answers():
                    found = await self._claim_left_rows()
                if checks % 600 == 0:
                    await self._forget_sent()
            except Transient as error:
                found = 0
                _log.info("outbox_look_failed", why=str(error))
            checks += 1
            if not found:
                await asyncio.sleep(self.check_seconds)

    async def _claim_left_rows(self) -> int:
        async with self._database.connection() as connection:
            rows = await connection.fetch(_queries["outbox_claim"], self._owner, 1000)
        readable = [(row["id"], message) for row in rows if (message := _read(row["message"])) is not None]
        self.hand_over(readable)
        known = {row_id for row_id, _ in readable}
        for row in rows:
            if row["id"] not in known:
                await self._lay_aside(row["id"], row["message"])
        return len(rows)

    async def _lay_aside(self, row_id: int, body: bytes) -> None:
        """Publish an unreadable row to the dead letters, so that it is not claimed forever. Raises Transient.

        Another release may have written it.
        """
        kind = type_of(body)
        _log.error("outbox_row_unreadable", outbox_id=row_id, type=kind)
        await self._bus.publish_bytes(body, topology.OUTBOX_UNREADABLE.keys[0], kind=kind)
        self._confirmed.append(row_id)

    async def _forget_sent(self) -> None:
        async with self._database.connection() as connection:
            while await connection.fetch(_queries["outbox_forget"], self._owner):
                pass
