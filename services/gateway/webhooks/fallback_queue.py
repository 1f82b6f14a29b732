"""The fallback queue (`deliveries.fallback_queue`): holds webhook deliveries while Postgres is unavailable.

The queue holds the only copy of a delivery, so it must never be purged. Only gateways publish to it and
consume it.

1. `Acceptance` publishes a delivery with `FallbackQueue.keep()`, which returns after the broker has confirmed
   it.
2. Any gateway consumes it with `on_arrived()`, stores it in Postgres, and acks it after the commit.

Failures:
- Postgres is unavailable: the consumer keeps its messages and waits.
- The gateway dies between commit and ack: the message arrives again and is recognised as a duplicate.
- A group commit succeeded after its caller had published the delivery here: the copy is also a duplicate.
- A message cannot be decoded, or Postgres refuses its row: it is stored as a dead letter.
"""

import asyncio
from collections.abc import Sequence

import structlog

from services.gateway.dead_letters import Dead, bury
from services.gateway.store import GatewayStore
from services.gateway.webhooks.deliveries import Delivery, from_message, to_message
from services.gateway.webhooks.group_commit import Refused
from services.gateway.webhooks.record import Record
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messaging import topology
from shared.messaging.bus import Bus
from shared.messaging.messages import DeliveryKept, decode, encode
from shared.messaging.raw_consumer import Arrived
from shared.tracing import common, fields

_log = structlog.get_logger()

BATCH = 4
"""Maximum number of messages stored in one statement. Small, because each may hold 8 MiB."""
WARM_SECONDS = 5


class FallbackQueue:
    """The publisher of the fallback queue."""

    def __init__(self, bus: Bus, *, wait_seconds: float, body_bytes: int) -> None:
        self._bus = bus
        self._wait_seconds = wait_seconds
        self._body_bytes = body_bytes

    async def keep(self, delivery: Delivery) -> None:
        """Publish the delivery and return after the broker has confirmed it.

        Raises Transient if the body is too large, the queue is full, or the broker does not confirm in time.
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
        """Keep the broker connection open.

        The first delivery after Postgres becomes unavailable then does not have to wait for a connection.
        """
        while True:
            await self._bus.answers()
            await asyncio.sleep(WARM_SECONDS)


async def on_arrived(record: Record, store: GatewayStore, arrived: Sequence[Arrived]) -> None:
    """Store deliveries from the fallback queue. Safe to repeat: a known delivery is not stored again.

    A message that cannot be decoded, or that Postgres refuses when it is stored alone, becomes a dead letter.
    It does not affect the others, and its content is kept. Raises Transient while Postgres is unavailable.
    Raises Refused if one of several rows is refused. The consumer then passes each message alone.
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
    trace = fields(common(delivery.traceparent for delivery in deliveries))
    _log.info("inlet_stored", count=len(kept), duplicates=sum(one.is_duplicate for one in kept), **trace)


def _read(body: bytes) -> DeliveryKept | None:
    try:
        message = decode(body)
        if isinstance(message, DeliveryKept):
            from_message(message)
            return message
    except ValueError:
        pass
    return None
