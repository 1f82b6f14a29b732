"""A message handler that tests can observe, and helpers to send to its queue and to wait for it."""

from collections.abc import Sequence

from shared.messaging import topology
from shared.messaging.bus import Bus
from shared.messaging.messages import CommandRequested
from tests.harness.waiting import until

QUEUE = topology.SCHEDULER_COMMANDS


class Listener:
    """A handler that records the ids that it handled. For chosen ids it raises the given exceptions first."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.calls: list[int] = []
        self.faults: dict[int, list[Exception]] = {}

    async def __call__(self, messages: Sequence[CommandRequested]) -> None:
        ids = [message.command_ids[0] for message in messages]
        self.calls += ids
        for command_id in ids:
            if self.faults.get(command_id):
                raise self.faults[command_id].pop(0)
        self.batches.append(ids)

    @property
    def handled(self) -> list[int]:
        return sorted(command_id for batch in self.batches for command_id in batch)


async def say(bus: Bus, *command_ids: int) -> None:
    for command_id in command_ids:
        await bus.publish(CommandRequested(command_ids=(command_id,)))


async def handled(listener: Listener, wanted: Sequence[int], within: float = 10) -> None:
    async def check() -> bool:
        return listener.handled == sorted(wanted)

    await until(check, within=within, what=f"handled {wanted}")


async def depth(bus: Bus, queue: str) -> int:
    channel = await bus.open_channel(prefetch=1)
    found = await channel.declare_queue(queue, passive=True)
    await channel.close()
    return found.declaration_result.message_count or 0
