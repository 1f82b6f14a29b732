"""The bus never publishes on a connection whose setup was not completed."""

import asyncio

import aio_pika
import pytest
from pydantic import SecretStr

from shared.errors import Transient
from shared.messaging import bus as bus_module
from shared.messaging import topology
from shared.messaging.bus import open_bus
from shared.messaging.messages import CommandRequested
from shared.settings import BusSettings


async def test_who_gives_up_while_the_connection_is_being_made_spoils_nothing_for_the_next(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare, begun, slow = bus_module.declare_queue, asyncio.Event(), asyncio.Event()

    async def slowly(
        channel: aio_pika.abc.AbstractChannel, queue: topology.Queue
    ) -> aio_pika.abc.AbstractQueue:
        begun.set()
        await slow.wait()
        return await declare(channel, queue)

    async with open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "test") as bus:
        await bus.publish(CommandRequested(command_ids=(1,)))
        channel = bus._channel  # closed below, as the broker may do
        assert channel is not None
        await channel.close()
        monkeypatch.setattr(bus_module, "declare_queue", slowly)
        impatient = asyncio.create_task(bus.publish(CommandRequested(command_ids=(2,))))
        await asyncio.wait_for(begun.wait(), 10)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        slow.set()
        await asyncio.wait_for(bus.publish(CommandRequested(command_ids=(3,))), 10)


async def test_a_channel_that_could_not_be_made_ready_is_not_published_on(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare = bus_module.declare_queue

    async def refused(
        _channel: aio_pika.abc.AbstractChannel, _queue: topology.Queue
    ) -> aio_pika.abc.AbstractQueue:
        raise TimeoutError

    async with open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "test") as bus:
        await bus.publish(CommandRequested(command_ids=(1,)))
        channel = bus._channel  # closed below, as the broker may do
        assert channel is not None
        await channel.close()
        monkeypatch.setattr(bus_module, "declare_queue", refused)
        with pytest.raises(Transient):
            await bus.publish(CommandRequested(command_ids=(2,)))
        monkeypatch.setattr(bus_module, "declare_queue", declare)
        await bus.publish(CommandRequested(command_ids=(3,)))
