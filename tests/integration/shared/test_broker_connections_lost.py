"""Consumers and publishers survive lost connections to the broker, and end when they are cancelled."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aio_pika
import pytest
from pydantic import SecretStr

from shared.errors import Transient
from shared.messaging import consumer as consuming
from shared.messaging import topology
from shared.messaging.bus import Bus, open_bus
from shared.service import Runnable
from shared.settings import BusSettings
from tests.chaos.proxy import Mode, open_proxy, through
from tests.harness.waiting import until
from tests.integration.shared.listening import Listener, handled, say

HEARTBEAT_SECONDS = 1
"""The heartbeat interval. aiormq ends a connection after three of them and 3 s without a frame."""


@asynccontextmanager
async def kept_running(*runnables: Runnable) -> AsyncIterator[list["asyncio.Task[None]"]]:
    """Run these and yield their tasks.

    At the end of the block the tasks are cancelled and have to end within 20 seconds.
    """
    tasks = [asyncio.create_task(runnable.run()) for runnable in runnables]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        _, late = await asyncio.wait(tasks, timeout=20)
        assert not late


async def test_f18_a_half_open_connection_to_the_broker_ends_no_consumer(
    amqp_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumers have calls in progress (`_check_queue`) when the connection is declared dead."""
    monkeypatch.setattr(consuming, "_CHECK_SECONDS", 0.3)
    async with open_proxy(amqp_url) as proxy:
        settings = BusSettings(
            amqp_url=SecretStr(through(amqp_url, proxy)), amqp_heartbeat_seconds=HEARTBEAT_SECONDS
        )
        async with open_bus(settings, "test") as bus:
            listener = Listener()
            queues = [
                topology.SCHEDULER_COMMANDS,
                *(topology.executor_queue(f"c{number}") for number in range(4)),
            ]
            consumers = [bus.consumer(queue, listener) for queue in queues]
            async with kept_running(*consumers, bus.exclusive_consumer(["run.*"], _hears_nothing)) as tasks:
                await say(bus, 1)
                await handled(listener, [1])

                proxy.become(Mode.HOLD)
                await until(lambda: _lost(bus), within=60, what="the dead connection is noticed")
                proxy.become(Mode.PASS)

                await until(bus.answers, within=20, what="a new connection")
                await say(bus, 2)
                await handled(listener, [1, 2], within=30)
                assert not [task for task in tasks if task.done()]


async def _hears_nothing(_message: object) -> None:
    raise AssertionError("nothing is published for it")


async def _lost(bus: Bus) -> bool:
    return not await bus.answers()


async def test_a_closed_bus_makes_no_new_connection(bus: Bus) -> None:
    listener = Listener()
    async with kept_running(bus.consumer(topology.SCHEDULER_COMMANDS, listener)):
        await say(bus, 1)
        await handled(listener, [1])

        await bus.close()

        assert not await bus.answers()
        with pytest.raises(Transient, match="closed"):
            await bus.open_channel(prefetch=1)


async def test_a_bus_that_is_closed_while_it_connects_leaves_no_connection(
    bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, connecting, go_on = aio_pika.connect, asyncio.Event(), asyncio.Event()
    made: list[aio_pika.abc.AbstractConnection] = []

    async def slowly(*args: Any, **options: Any) -> aio_pika.abc.AbstractConnection:
        connecting.set()
        await go_on.wait()
        made.append(await connect(*args, **options))
        return made[0]

    monkeypatch.setattr(aio_pika, "connect", slowly)
    opening = asyncio.create_task(bus.open_channel(prefetch=1))
    await asyncio.wait_for(connecting.wait(), 10)
    await bus.close()
    go_on.set()

    with pytest.raises(Transient, match="closed"):
        await opening
    assert [connection.is_closed for connection in made] == [True]
