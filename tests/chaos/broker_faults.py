"""Faults of RabbitMQ, its queues and the messages in them.

`deliveries.inlet` is never purged or deleted: its deliveries are stored nowhere else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from aio_pika.exceptions import AMQPError

from shared.messaging import topology
from shared.messaging.messages import (
    AttemptClaimed,
    AttemptFinished,
    AttemptReady,
    CommandRequested,
    ContainerStarted,
    DeliveryAccepted,
    LogSealed,
    Message,
    encode,
)
from tests.chaos.world import World

CLUSTER = "local"
QUEUES = [
    queue for queue in (*topology.FIXED, topology.executor_queue(CLUSTER)) if queue is not topology.INLET
]


@asynccontextmanager
async def killed(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.rabbit.kill)
    yield
    await world.up(world.rabbit)


@asynccontextmanager
async def restarted(world: World) -> AsyncIterator[None]:
    await asyncio.to_thread(world.rabbit.stop)
    yield
    await world.up(world.rabbit)


@asynccontextmanager
async def paused(world: World) -> AsyncIterator[None]:
    world.rabbit.pause()
    yield
    world.rabbit.resume()


@asynccontextmanager
async def alarmed(world: World) -> AsyncIterator[None]:
    """Set the memory limit of RabbitMQ so low that its memory alarm blocks publishers."""
    await asyncio.to_thread(world.rabbit.control, "set_vm_memory_high_watermark", "0.00001")
    yield
    await asyncio.to_thread(world.rabbit.control, "set_vm_memory_high_watermark", "0.4")


@asynccontextmanager
async def queues_purged(world: World) -> AsyncIterator[None]:
    async with _channel(world) as channel:
        for queue in QUEUES:
            await (await channel.get_queue(queue.name)).purge()
    yield


@asynccontextmanager
async def queues_deleted(world: World) -> AsyncIterator[None]:
    async with _channel(world) as channel:
        for queue in QUEUES:
            await channel.queue_delete(queue.name)
    yield


@asynccontextmanager
async def bindings_deleted(world: World) -> AsyncIterator[None]:
    async with _channel(world) as channel:
        for queue in QUEUES:
            declared = await channel.get_queue(queue.name)
            for key in queue.keys:
                await declared.unbind(topology.EXCHANGE, key)
    yield


@asynccontextmanager
async def exchange_deleted(world: World) -> AsyncIterator[None]:
    async with _channel(world) as channel:
        await channel.exchange_delete(topology.EXCHANGE)
    yield


@asynccontextmanager
async def messages_dropped(world: World) -> AsyncIterator[None]:
    """Consume and acknowledge messages without handling them."""

    async def take(message: AbstractIncomingMessage) -> None:
        await message.ack()

    async with _channel(world) as channel:
        for queue in QUEUES:
            await (await channel.get_queue(queue.name)).consume(take)
        yield


@asynccontextmanager
async def messages_doubled(world: World) -> AsyncIterator[None]:
    """Publish messages about existing rows again, late and in random order."""
    async with world.database() as connection:
        deliveries = [
            row["id"]
            for row in await connection.fetch("SELECT id FROM deliveries ORDER BY random() LIMIT 40")
        ]
        commands = [
            row["id"] for row in await connection.fetch("SELECT id FROM commands ORDER BY random() LIMIT 10")
        ]
        attempts = await connection.fetch(
            "SELECT id, job_id, number FROM attempts ORDER BY random() LIMIT 40"
        )
    messages: list[Message] = [DeliveryAccepted(delivery_ids=(delivery,)) for delivery in deliveries]
    messages += [CommandRequested(command_ids=(command,)) for command in commands]
    for attempt in attempts:
        ids = (attempt["id"],)
        messages += [
            AttemptFinished(attempt_ids=ids),
            AttemptClaimed(attempt_ids=ids),
            ContainerStarted(attempt_ids=ids),
        ]
        messages += [
            LogSealed(cluster=CLUSTER, attempt_ids=ids),
            AttemptReady(cluster=CLUSTER, jobs=((attempt["job_id"], attempt["number"]),)),
        ]
    world.chance.shuffle(messages)
    await _say(world, [(encode(message), message.routing_key) for message in messages])
    yield


@asynccontextmanager
async def messages_poisoned(world: World) -> AsyncIterator[None]:
    """Publish invalid bodies, messages of an unknown type, and messages with unknown ids."""
    nobody = 2**62
    unknown: list[Message] = [
        DeliveryAccepted(delivery_ids=(nobody,)),
        CommandRequested(command_ids=(nobody,)),
        AttemptFinished(attempt_ids=(nobody,)),
        ContainerStarted(attempt_ids=(nobody,)),
        AttemptReady(cluster=CLUSTER, jobs=((nobody, 1),)),
        LogSealed(cluster=CLUSTER, attempt_ids=(nobody,)),
    ]
    bodies = [(encode(message), message.routing_key) for message in unknown]
    for queue in QUEUES:
        bodies += [
            (world.chance.randbytes(40), queue.keys[0]),
            (b"", queue.keys[0]),
            (b'{"type": "something.imagined"}', queue.keys[0]),
        ]
    world.chance.shuffle(bodies)
    await _say(world, bodies)
    yield


async def _say(world: World, bodies: list[tuple[bytes, str]]) -> None:
    async with _channel(world) as channel:
        exchange = await channel.get_exchange(topology.EXCHANGE, ensure=False)
        for body, key in bodies:
            await exchange.publish(aio_pika.Message(body), key, mandatory=False)


@asynccontextmanager
async def _channel(world: World) -> AsyncIterator[AbstractChannel]:
    """Open a channel that bypasses every proxy."""
    async with asyncio.timeout(10):
        connection = await aio_pika.connect(world.stack.amqp_url, timeout=10)
    try:
        yield await connection.channel()
    finally:
        with contextlib.suppress(AMQPError, OSError, TimeoutError, RuntimeError):
            async with asyncio.timeout(2):
                await connection.close()
