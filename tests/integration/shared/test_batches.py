"""Batches grow under load, and acknowledging one does not acknowledge messages of other workers."""

import asyncio
from collections.abc import Sequence

from shared.errors import Rejected
from shared.messaging.bus import Bus
from shared.messaging.messages import CommandRequested
from tests.harness.waiting import until
from tests.integration.shared.listening import QUEUE, Listener, depth, handled, say
from tests.integration.shared.running import running


async def test_what_arrives_within_a_beat_is_handled_together(bus: Bus) -> None:
    listener = Listener()
    await say(bus, *range(40))
    async with running(bus.consumer(QUEUE, listener, batch=10, linger_seconds=0.5)):
        await handled(listener, range(40))
    assert max(len(batch) for batch in listener.batches) == 10
    assert await depth(bus, QUEUE.name) == 0


async def test_what_one_worker_acknowledges_leaves_the_others_messages_alone(bus: Bus) -> None:
    """A message that was acknowledged by mistake could no longer be rejected."""
    listener, others_are_done = Listener(), asyncio.Event()

    async def hear(messages: Sequence[CommandRequested]) -> None:
        if messages[0].command_ids == (0,):
            listener.calls.append(0)
            await others_are_done.wait()
            raise Rejected("bad", command_id=0)
        await listener(messages)

    async def is_dead() -> bool:
        return await depth(bus, QUEUE.dead_name) == 1

    async def is_held() -> bool:
        return listener.calls == [0]

    async with running(bus.consumer(QUEUE, hear, batch=4, workers=2)):
        await say(bus, 0)
        await until(is_held, within=10, what="held")
        await say(bus, *range(1, 10))
        await handled(listener, range(1, 10))
        others_are_done.set()
        await until(is_dead, within=10, what="dead")
