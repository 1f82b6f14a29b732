"""The connection to RabbitMQ: publishing with confirms, and creating consumers.

Every service opens one `Bus`. `shared.messaging.consumer` settles the consumed messages. Publishing and
consuming use separate connections.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractExchange
from aio_pika.exceptions import DeliveryError
from aiormq.exceptions import PublishError
from prometheus_client import Counter, Histogram

from shared.errors import Transient
from shared.messaging import topology
from shared.messaging.broker_calls import broker_call, bus_faults, close_within
from shared.messaging.consumer import Consumer, ExclusiveConsumer, Pace
from shared.messaging.messages import Message, encode
from shared.messaging.raw_consumer import RawConsumer
from shared.settings import BusSettings

_log = structlog.get_logger()
_returned = Counter("towpath_bus_returned_total", "Publishes that found no queue", ["type"])
_publish_seconds = Histogram(
    "towpath_bus_publish_seconds",
    "From publish to confirm",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1, 5),
)

_RESTORE_SECONDS = 1.0
# If a quorum queue is deleted and declared again within milliseconds, its old consumers stay registered but
# get no messages (seen on RabbitMQ 3.10.8). The pause lets the broker remove them first.
_RESTORE_PAUSE_SECONDS = 0.2

Handler = Callable[[Sequence[Any]], Awaitable[None]]


class _Link:
    """A connection to the broker, opened when it is first needed and opened again after it is lost."""

    def __init__(self, settings: BusSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._connection: aio_pika.abc.AbstractConnection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Return True while the connection can be used.

        `connected` is cleared when the transport is lost. `is_closed` is True only after our own `close()`.
        """
        return (
            self._connection is not None
            and self._connection.connected.is_set()
            and not self._connection.is_closed
        )

    async def connection(self) -> aio_pika.abc.AbstractConnection:
        """Return the open connection, and open one if there is none.

        Raises Transient if the broker does not answer in time, and after `close()`.
        """
        async with self._connecting:
            if self._closed:
                raise Transient("bus: closed")
            if self._connection is None or not self.is_open:
                seconds = self._settings.amqp_connect_seconds
                # The library's own timeout does not cover the wait for a blocked connection.
                async with broker_call(seconds + 1):
                    self._connection = await aio_pika.connect(
                        self._settings.amqp_url.get_secret_value(),
                        timeout=seconds,
                        client_properties={"connection_name": self._name},
                        heartbeat=self._settings.amqp_heartbeat_seconds,
                    )
                if self._closed:  # in the meantime
                    await close_within(2, self._connection.close())
                    raise Transient("bus: closed")
            return self._connection

    async def close(self) -> None:
        """Close the connection permanently. Raises Transient if the broker does not answer in time."""
        self._closed = True
        if self._connection is not None and self.is_open:
            await close_within(2, self._connection.close())


async def declare_queue(channel: AbstractChannel, queue: topology.Queue) -> aio_pika.abc.AbstractQueue:
    """Declare the queue with its bindings and its dead-letter queue. Safe to repeat."""
    exchange = await channel.declare_exchange(topology.EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True)
    if queue.delivery_limit is not None:
        dead_exchange = await channel.declare_exchange(
            topology.DEAD_EXCHANGE, aio_pika.ExchangeType.DIRECT, durable=True
        )
        dead = await channel.declare_queue(queue.dead_name, durable=True, arguments=queue.dead.arguments)
        await dead.bind(dead_exchange, queue.dead_name)
    declared = await channel.declare_queue(queue.name, durable=True, arguments=queue.arguments)
    for key in queue.keys:
        await declared.bind(exchange, key)
    return declared


class Bus:
    """The two broker connections of a process. Each is opened when needed and again after it is lost."""

    def __init__(self, settings: BusSettings, name: str) -> None:
        self._settings = settings
        self._publishing = _Link(settings, f"{name} publishing")
        self._consuming = _Link(settings, f"{name} consuming")
        self._opening = asyncio.Lock()
        self._channel: AbstractChannel | None = None
        self._exchange: AbstractExchange | None = None
        self._opener: asyncio.Task[AbstractExchange] | None = None
        self._restored_at = -_RESTORE_SECONDS

    async def answers(self) -> bool:
        """Return True if there is a connection for publishing. Try to open one if there is none."""
        try:
            await self._publishing_exchange()
        except Transient:
            return False
        return True

    async def publish(self, message: Message) -> None:
        """Publish a persistent message. Return once the broker has stored it in all queues it is routed to.

        Raises Transient if this is not certain.
        """
        await self.publish_bytes(
            encode(message), message.routing_key, kind=message.type, must_route=message.must_route
        )

    async def publish_transient(self, message: Message) -> None:
        """Publish a notification that may be lost; the broker does not store it on disk. Raises Transient."""
        exchange = await self._publishing_exchange()
        with bus_faults():
            body = aio_pika.Message(encode(message), delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT)
            await exchange.publish(
                body, message.routing_key, mandatory=False, timeout=self._settings.amqp_publish_seconds
            )

    async def publish_bytes(
        self,
        body: bytes,
        routing_key: str,
        *,
        kind: str,
        must_route: bool = True,
        timeout: float | None = None,  # noqa: ASYNC109 - the fallback queue's own bound
    ) -> None:
        """Publish a persistent message with a confirm, and with `mandatory` if it must reach a queue.

        Raises Transient if the message is refused, returned, or not confirmed in time. It may have arrived
        nevertheless.
        """
        exchange = await self._publishing_exchange()
        message = aio_pika.Message(
            body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT, content_type="application/json", type=kind
        )
        with bus_faults():
            try:
                with _publish_seconds.time():
                    await exchange.publish(
                        message,
                        routing_key,
                        mandatory=must_route,
                        timeout=timeout or self._settings.amqp_publish_seconds,
                    )
            except PublishError as error:
                _returned.labels(kind).inc()
                _log.error("message_returned", type=kind, routing_key=routing_key)
                await self._restore_topology()
                raise Transient(f"bus: no queue took {kind}") from error
            except DeliveryError as error:
                raise Transient(f"bus: {kind} was refused") from error

    async def put_back(self, queue: topology.Queue, message: aio_pika.abc.AbstractIncomingMessage) -> None:
        """Publish a copy of the message to the end of this queue only, persistent and with a confirm.

        The copy's delivery count starts at zero. Raises Transient.
        """
        await self._publishing_exchange()
        assert self._channel is not None  # noqa: S101 - the line before opened it
        copy = aio_pika.Message(
            message.body,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            content_type=message.content_type,
            type=message.type,
        )
        with bus_faults():
            await self._channel.default_exchange.publish(
                copy, queue.name, mandatory=True, timeout=self._settings.amqp_publish_seconds
            )

    async def open_channel(self, prefetch: int) -> AbstractChannel:
        """Open a channel for one consumer. Raises Transient."""
        connection = await self._consuming.connection()
        async with broker_call(self._settings.amqp_connect_seconds):
            channel = await connection.channel(publisher_confirms=False)
            await channel.set_qos(prefetch_count=prefetch)
        return channel

    def consumer(
        self,
        queue: topology.Queue,
        handler: Handler,
        *,
        batch: int = 1,
        workers: int = 1,
        linger_seconds: float = 0,
    ) -> Consumer:
        """Return a consumer that passes 1 to `batch` messages to each call of `handler`. See `Pace`."""
        return Consumer(
            self, queue, handler, Pace(batch=batch, workers=workers, linger_seconds=linger_seconds)
        )

    def raw_consumer(self, queue: topology.Queue, handler: Handler, *, batch: int = 1) -> RawConsumer:
        """Return a consumer whose `handler` gets undecoded messages
        (`shared.messaging.raw_consumer.Arrived`).
        """
        return RawConsumer(self, queue, handler, Pace(batch=batch))

    def exclusive_consumer(
        self, keys: Sequence[str], handler: Callable[[Message], Awaitable[None]]
    ) -> ExclusiveConsumer:
        """Return a consumer with a temporary queue. It gets messages only while it is connected."""
        return ExclusiveConsumer(self, keys, handler)

    async def declare(self, channel: AbstractChannel, queue: topology.Queue) -> aio_pika.abc.AbstractQueue:
        async with broker_call(20):
            return await declare_queue(channel, queue)

    async def close(self) -> None:
        if self._opener is not None:
            self._opener.cancel()
        for link in (self._consuming, self._publishing):
            await link.close()

    async def _publishing_exchange(self) -> AbstractExchange:
        """Return the exchange of the open publishing channel, and open the channel if there is none.

        One task opens the channel for all callers, so a caller that is cancelled leaves nothing half done.
        Raises Transient.
        """
        if self._exchange is not None and self._channel is not None and not self._channel.is_closed:
            return self._exchange
        if self._opener is None or self._opener.done():
            self._opener = asyncio.create_task(self._open())
            # Retrieves the task's exception, because the caller may have been cancelled meanwhile.
            self._opener.add_done_callback(lambda opener: opener.cancelled() or opener.exception())
        with bus_faults():
            return await asyncio.shield(self._opener)

    async def _open(self) -> AbstractExchange:
        async with self._opening:
            connection = await self._publishing.connection()
            async with broker_call(20):
                channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
                self._exchange = await self._declared(channel)
            self._channel = channel
            return self._exchange

    async def _declared(self, channel: AbstractChannel) -> AbstractExchange:
        """Declare every fixed queue on a new channel and return the exchange.

        If that fails, close the channel.
        """
        try:
            for queue in topology.FIXED:
                await declare_queue(channel, queue)
            return await channel.get_exchange(topology.EXCHANGE, ensure=False)
        except BaseException:
            with contextlib.suppress(Transient):
                await close_within(2, channel.close())
            raise

    async def _restore_topology(self) -> None:
        """Declare all fixed queues again, after a publish was returned because no queue was bound.

        Publishes that are returned within one second share one declaration.
        """
        async with self._opening:
            if (
                self._channel is None
                or self._channel.is_closed
                or time.monotonic() - self._restored_at < _RESTORE_SECONDS
            ):
                return
            await asyncio.sleep(_RESTORE_PAUSE_SECONDS)
            async with broker_call(20):
                for queue in topology.FIXED:
                    await declare_queue(self._channel, queue)
            self._restored_at = time.monotonic()


@asynccontextmanager
async def open_bus(settings: BusSettings, name: str) -> AsyncIterator[Bus]:
    """Open the bus for the duration of the block, without waiting for the broker to answer."""
    bus = Bus(settings, name)
    try:
        yield bus
    finally:
        try:
            await bus.close()
        except Transient as error:
            _log.info("bus_close_failed", why=str(error))
