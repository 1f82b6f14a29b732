"""The bus gives every message a defined end, and a bad message does not affect others.

Consumers recover from everything that an operator deletes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import aio_pika
import pytest
from pydantic import SecretStr

from devstack.servers import Servers
from shared.errors import Conflict, Rejected, Transient
from shared.messaging import bus as bus_module
from shared.messaging import consumer as consuming
from shared.messaging import topology
from shared.messaging.bus import Bus, open_bus
from shared.messaging.messages import CommandRequested, DeliveryAccepted, LogAppended, RunCreated
from shared.settings import BusSettings
from tests.harness.waiting import until
from tests.integration.shared.listening import QUEUE, Listener, depth, handled, say
from tests.integration.shared.running import running

pytestmark = pytest.mark.containers


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consuming, "_CHECK_SECONDS", 0.5)
    monkeypatch.setattr(bus_module, "_RESTORE_SECONDS", 0.1)


async def dead(bus: Bus, count: int, within: float = 15) -> None:
    async def check() -> bool:
        return await depth(bus, QUEUE.dead_name) == count

    await until(check, within=within, what=f"{count} dead letters")


async def test_a_message_is_handled_once_and_gone(bus: Bus, listener: Listener) -> None:
    async with running(bus.consumer(QUEUE, listener)):
        await say(bus, 1, 2, 3)
        await handled(listener, [1, 2, 3])
    assert await depth(bus, QUEUE.name) == 0


async def test_rejected_is_dead_lettered_at_once(bus: Bus, listener: Listener) -> None:
    listener.faults[1] = [Rejected("nobody_knows", command_id=1)]
    async with running(bus.consumer(QUEUE, listener)):
        await say(bus, 1, 2)
        await handled(listener, [2])
        await dead(bus, 1)
    assert listener.calls.count(1) == 1


async def test_a_bug_is_tried_again_a_bounded_number_of_times_and_then_dead_lettered(
    bus: Bus, listener: Listener
) -> None:
    listener.faults[1] = [ValueError("a bug")] * 100
    async with running(bus.consumer(QUEUE, listener, workers=2)):
        await say(bus, 1, 2)
        await handled(listener, [2])
        await dead(bus, 1, within=30)
    assert 2 <= listener.calls.count(1) <= (QUEUE.delivery_limit or 0) + 1


@pytest.mark.parametrize("body", [b"not json", b'{"type": "command.requested"}'])
async def test_what_is_no_message_is_dead_lettered(bus: Bus, listener: Listener, body: bytes) -> None:
    async with running(bus.consumer(QUEUE, listener)):
        await bus.publish_bytes(body, QUEUE.keys[0], kind="command.requested")
        await say(bus, 1)
        await handled(listener, [1])
        await dead(bus, 1)


async def test_a_type_of_a_later_release_is_dropped(bus: Bus, listener: Listener) -> None:
    async with running(bus.consumer(QUEUE, listener)):
        await bus.publish_bytes(b'{"type": "command.imagined"}', QUEUE.keys[0], kind="command.imagined")
        await say(bus, 1)
        await handled(listener, [1])
    assert await depth(bus, QUEUE.dead_name) == await depth(bus, QUEUE.name) == 0


async def test_a_stale_message_is_dropped(bus: Bus, listener: Listener) -> None:
    listener.faults[1] = [Conflict("stale")]
    async with running(bus.consumer(QUEUE, listener)):
        await say(bus, 1, 2)
        await handled(listener, [2])
    assert listener.calls.count(1) == 1
    assert await depth(bus, QUEUE.dead_name) == await depth(bus, QUEUE.name) == 0


async def test_what_is_away_for_a_while_costs_no_redelivery(bus: Bus, listener: Listener) -> None:
    listener.faults[1] = [Transient("away")] * 7  # more than the delivery limit
    async with running(bus.consumer(QUEUE, listener)):
        await say(bus, 1)
        await handled(listener, [1], within=30)
    assert listener.calls.count(1) == 8
    assert await depth(bus, QUEUE.dead_name) == 0


async def test_what_is_away_for_longer_than_a_consumer_waits_is_handled_by_the_next(
    bus: Bus, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consuming, "_PATIENCE_SECONDS", 0.0)
    listener.faults[1] = [Transient("away")] * 20
    async with running(bus.consumer(QUEUE, listener)):
        await say(bus, 1)
        await handled(listener, [1], within=60)
    assert await depth(bus, QUEUE.dead_name) == 0


@pytest.mark.parametrize("fault", [Rejected("bad"), ValueError("a bug")], ids=["rejected", "bug"])
async def test_one_bad_message_harms_no_other_of_its_batch(
    bus: Bus, listener: Listener, fault: Exception
) -> None:
    listener.faults[5] = [fault] * 100
    await say(bus, *range(10))
    async with running(bus.consumer(QUEUE, listener, batch=10)):
        await handled(listener, [n for n in range(10) if n != 5])
        await dead(bus, 1, within=30)


async def test_a_consumer_that_is_stopped_finishes_what_is_in_hand_and_hands_back_the_rest(bus: Bus) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    ended: list[int] = []

    async def slowly(messages: Sequence[CommandRequested]) -> None:
        begun.set()
        await may_end.wait()
        ended.extend(message.command_ids[0] for message in messages)

    await say(bus, 1, 2)
    consumer = asyncio.create_task(bus.consumer(QUEUE, slowly).run())
    await asyncio.wait_for(begun.wait(), 10)
    consumer.cancel()
    asyncio.get_running_loop().call_later(0.2, may_end.set)
    await asyncio.wait([consumer], timeout=10)
    assert consumer.done()
    assert ended == [1]
    await until(lambda: _holds(bus, 1), within=5, what="the other is back")


async def _holds(bus: Bus, count: int) -> bool:
    return await depth(bus, QUEUE.name) == count


def test_consumers_look_after_their_queue_often_enough() -> None:
    assert consuming._CHECK_SECONDS + 5 + 5 < 30  # the interval of checks, the detection, the restoration


@pytest.mark.usefixtures("quick_checks")
@pytest.mark.parametrize(
    "made_anew", [False, True], ids=["deleted", "deleted and made anew by another consumer"]
)
async def test_a_consumer_whose_queue_is_deleted_comes_back(
    bus: Bus, listener: Listener, *, made_anew: bool
) -> None:
    other = Listener()
    async with running(bus.consumer(QUEUE, listener)):
        await say(bus, 1)
        await handled(listener, [1])
        channel = await bus.open_channel(prefetch=1)
        await channel.queue_delete(QUEUE.name)
        if made_anew:
            await asyncio.sleep(0.1)  # the broker needs this time to cancel the old consumer
            async with running(bus.consumer(QUEUE, other)):
                await until(lambda: _consumers(bus, 2), within=15, what="both consume")
        await until(lambda: _consumers(bus, 1), within=15, what="consuming")
        await say(bus, 2)
        await handled(listener, [1, 2])


async def _consumers(bus: Bus, count: int) -> bool:
    channel = await bus.open_channel(prefetch=1)
    try:
        found = await channel.declare_queue(QUEUE.name, passive=True)
        return found.declaration_result.consumer_count == count
    except aio_pika.exceptions.ChannelClosed:
        return False


async def _delete_binding(bus: Bus) -> None:
    channel = await bus.open_channel(prefetch=1)
    queue = await channel.get_queue(QUEUE.name, ensure=False)
    await queue.unbind(topology.EXCHANGE, QUEUE.keys[0])


async def _delete_exchange(bus: Bus) -> None:
    channel = await bus.open_channel(prefetch=1)
    await channel.exchange_delete(topology.EXCHANGE)


async def _delete_queue(bus: Bus) -> None:
    channel = await bus.open_channel(prefetch=1)
    await channel.queue_delete(QUEUE.name)


@pytest.mark.usefixtures("quick_checks")
@pytest.mark.parametrize(
    "delete", [_delete_binding, _delete_exchange, _delete_queue], ids=["binding", "exchange", "queue"]
)
async def test_what_an_operator_deleted_is_noticed_by_the_publisher_and_restored(
    bus: Bus, delete: Callable[[Bus], Awaitable[None]]
) -> None:
    await say(bus, 1)
    await delete(bus)
    with pytest.raises(Transient):
        await say(bus, 2)

    async def again() -> bool:
        try:
            await say(bus, 2)
        except Transient:
            return False
        return True

    await until(again, within=10, what="published")
    assert await depth(bus, QUEUE.name) >= 1


@pytest.mark.usefixtures("quick_checks")
async def test_a_queue_that_only_its_consumer_declares_gets_its_bindings_back(bus: Bus) -> None:
    queue = topology.executor_queue("east")

    async def nothing(_messages: Sequence[object]) -> None:
        return

    async with running(bus.consumer(queue, nothing)):
        await until(lambda: _routes(bus), within=10, what="bound")
        await _delete_exchange(bus)
        await until(lambda: _routes(bus), within=10, what="bound again")


async def _routes(bus: Bus) -> bool:
    try:
        await bus.publish_bytes(
            b'{"type": "attempt.imagined"}', "attempt.ready.east", kind="attempt.imagined"
        )
    except Transient:
        return False
    return True


async def test_publishes_that_no_queue_takes_do_not_use_the_connection_up(bus: Bus) -> None:
    for _ in range(30):
        with pytest.raises(Transient, match="no queue took"):
            await bus.publish_bytes(b"{}", "nobody.listens", kind="nothing")
    connection = await bus._publishing.connection()
    inner = getattr(connection.transport, "connection")  # noqa: B009 - not in aio-pika's interface
    channels = inner.channels
    assert len(channels) <= 3


async def test_facts_that_nobody_has_to_hear_are_published_without_a_listener(bus: Bus) -> None:
    await bus.publish(RunCreated(run_ids=(1,)))
    await bus.publish_transient(LogAppended(appended=((1, 1, 1),)))


@pytest.mark.usefixtures("quick_checks")
async def test_each_live_listener_hears_what_is_said_while_it_listens(bus: Bus) -> None:
    heard: list[list[int]] = [[], []]

    async def first(message: object) -> None:
        if isinstance(message, RunCreated):
            heard[0] += message.run_ids

    async def second(message: object) -> None:
        if isinstance(message, RunCreated):
            heard[1] += message.run_ids

    said = 0

    async def both() -> bool:
        nonlocal said
        said += 1
        await bus.publish(RunCreated(run_ids=(said,)))
        return all(said in ears for ears in heard) or all(said - 1 in ears for ears in heard)

    async with running(
        bus.exclusive_consumer(topology.LIVE_KEYS, first), bus.exclusive_consumer(topology.LIVE_KEYS, second)
    ):
        await until(both, within=10, what="both hear")
        await _delete_exchange(bus)
        said += 1000

        async def both_again() -> bool:
            try:
                return await both()
            except Transient:
                return False

        await until(both_again, within=15, what="both hear again")


async def test_a_stopped_consumer_ends_also_while_the_broker_is_away(
    breakable_servers: Servers, breakable_amqp_url: str
) -> None:
    async with open_bus(BusSettings(amqp_url=SecretStr(breakable_amqp_url)), "test") as bus:
        listener = Listener()
        consumer = asyncio.create_task(bus.consumer(QUEUE, listener).run())
        await say(bus, 1)
        await handled(listener, [1])
        breakable_servers.rabbit.pause()
        consumer.cancel()
        await asyncio.wait([consumer], timeout=10)
        assert consumer.cancelled()
        breakable_servers.rabbit.resume()


async def test_f17_a_broker_killed_while_a_thousand_are_published_loses_nothing_confirmed(
    breakable_servers: Servers, breakable_amqp_url: str
) -> None:
    async with open_bus(BusSettings(amqp_url=SecretStr(breakable_amqp_url)), "test") as bus:
        await bus.publish(DeliveryAccepted(delivery_ids=(0,)))
        confirmed: list[int] = []

        async def one(number: int) -> None:
            await bus.publish(CommandRequested(command_ids=(number,)))
            confirmed.append(number)

        listener = Listener()
        publishing = asyncio.gather(*(one(number) for number in range(1000)), return_exceptions=True)
        await until(lambda: _some(confirmed), within=20, what="some are confirmed")
        breakable_servers.rabbit.pause()
        lost = asyncio.gather(*(one(number) for number in range(1000, 1100)), return_exceptions=True)
        await asyncio.wait([lost], timeout=0.5)
        await asyncio.to_thread(breakable_servers.rabbit.kill)
        await asyncio.gather(publishing, lost)
        await asyncio.to_thread(breakable_servers.rabbit.start)
        async with running(bus.consumer(QUEUE, listener, batch=100)):

            async def all_there() -> bool:
                return set(confirmed) <= set(listener.handled)

            await until(all_there, within=40, what="every confirmed message")


async def _some(confirmed: list[int]) -> bool:
    return len(confirmed) > 50


async def test_a_broker_that_says_nothing_is_noticed_and_used_again_when_it_speaks(
    breakable_servers: Servers, breakable_amqp_url: str
) -> None:
    async with open_bus(BusSettings(amqp_url=SecretStr(breakable_amqp_url)), "test") as bus:
        listener = Listener()
        async with running(bus.consumer(QUEUE, listener)):
            await say(bus, 1)
            await handled(listener, [1])
            breakable_servers.rabbit.pause()
            with pytest.raises(Transient):
                await asyncio.wait_for(say(bus, 2), 10)
            breakable_servers.rabbit.resume()

            async def heard_again() -> bool:
                try:
                    await say(bus, 3)
                except Transient:
                    return False
                return 3 in listener.handled

            await until(heard_again, within=30, what="publishing and consuming")
