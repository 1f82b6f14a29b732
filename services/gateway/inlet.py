"""The inlet: where deliveries wait while Postgres is away.

The queue holds their only copy and is never wiped.

Only gateways consume it. A message is acknowledged after the commit of its delivery, and a second copy of one
that had been committed after all is absorbed.
"""

import asyncio
from collections.abc import Sequence

import structlog

from services.gateway.dead_letters import Dead, bury
from services.gateway.deliveries import Delivery, from_message, to_message
from services.gateway.group_commit import Refused
from services.gateway.record import Record
from services.gateway.store import GatewayStore
from shared import topology
from shared.bus import Bus
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messages import DeliveryKept, decode, encode
from shared.raw_consuming import Arrived

_log = structlog.get_logger()

BATCH = 4
"""Messages stored in one transaction; few, for each may hold 8 MiB."""
WARM_SECONDS = 5


class Inlet:
    """The publishing side."""

    def __init__(self, bus: Bus, *, wait_seconds: float, body_bytes: int) -> None:
        self._bus = bus
        self._wait_seconds = wait_seconds
        self._body_bytes = body_bytes

    async def keep(self, delivery: Delivery) -> None:
        """Returns when the broker has the delivery on disk.

        Raises Transient: it is too large, the inlet is full, or the broker does not confirm in time.
        """
        if delivery.body_bytes > self._body_bytes:
            raise Transient("too large for the inlet")
        message = to_message(delivery)
        crashpoint("gateway.inlet_not_published")
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._bus.publish_bytes(
                    encode(message), topology.INLET.keys[0], kind=message.type, timeout=self._wait_seconds
                )
        except TimeoutError as error:
            raise Transient("the inlet did not confirm in time") from error
        crashpoint("gateway.inlet_published_not_answered")

    async def answers(self) -> bool:
        return await self._bus.answers()

    async def run(self) -> None:
        """Keeps the connection open, so that the first delivery after Postgres has gone does not wait for
        one.
        """
        while True:
            await self._bus.answers()
            await asyncio.sleep(WARM_SECONDS)


async def on_arrived(record: Record, store: GatewayStore, arrived: Sequence[Arrived]) -> None:
    """Store what waited in the inlet. Safe to repeat: a delivery that is known already stays as it is.

    What cannot be read, and what the record refuses when it is alone, goes to the dead letters: it harms no
    other, and nothing of it is lost. Raises Transient while Postgres is away (the consumer holds its messages
    and waits), and Refused for one of several (each is then tried alone).
    """
    readable = [message for one in arrived if (message := _read(one.body)) is not None]
    unreadable = [one.body for one in arrived if _read(one.body) is None]
    if unreadable:
        await bury(store, topology.INLET.name, [Dead(body, "unreadable") for body in unreadable])
    try:
        await _store(record, readable)
    except Refused as error:
        if len(arrived) > 1:
            raise
        await bury(store, topology.INLET.name, [Dead(arrived[0].body, "refused", str(error))])


async def _store(record: Record, messages: Sequence[DeliveryKept]) -> None:
    if not messages:
        return
    deliveries = sorted(
        (from_message(message) for message in messages),
        key=lambda delivery: (delivery.delivery_id, delivery.body_sha256),
    )
    crashpoint("gateway.inlet_taken_not_stored")
    kept = await record.keep(deliveries)
    crashpoint("gateway.inlet_stored_not_acked")
    _log.info("inlet_stored", count=len(kept), duplicates=sum(one.is_duplicate for one in kept))


def _read(body: bytes) -> DeliveryKept | None:
    try:
        message = decode(body)
        if isinstance(message, DeliveryKept):
            from_message(message)
            return message
    except ValueError:
        pass
    return None
