"""Messages of other services reach the gateway's open requests and live views."""

import asyncio

from services.gateway.effects import Effects
from services.gateway.people import Caller
from shared.errors import Transient
from shared.messaging.bus import open_bus
from shared.messaging.messages import CommandApplied, LogAppended, LogSealed, Message, RunFinished
from tests.harness.waiting import until
from tests.integration.gateway.serving import Serving

CALLER = Caller(user_id=1, name="admin", is_admin=True, scopes=frozenset({"admin"}), token_id=1)


async def test_facts_wake_those_who_wait_for_them(served: Serving) -> None:
    watch = served.gateway.live.watch(run_id=7)
    async with open_bus(served.gateway.settings, "test") as bus:
        facts: list[Message] = [
            LogAppended(appended=((1, 7, 2),)),
            RunFinished(run_ids=(7,)),
            LogSealed(cluster="local", attempt_ids=(3,)),
        ]
        for fact in facts:
            version = watch.version

            async def is_heard(fact: Message = fact, version: int = version) -> bool:
                if watch.version == version:
                    try:
                        await bus.publish_transient(fact)
                    except Transient:
                        return False
                return watch.version > version

            await until(is_heard, within=10, what=f"{fact.type} at the gateway")


async def test_an_applied_command_ends_the_wait_before_the_next_look(served: Serving) -> None:
    effects: Effects = served.gateway.effects
    async with served.gateway.store.transaction() as work:
        command_id = await work.insert_command("cancel", 1, {}, 1, None)
    assert command_id is not None
    waiting = asyncio.create_task(effects.wait(command_id, CALLER))
    await served.rows(
        "INSERT INTO command_effects (command_id, outcome, reason) VALUES ($1, 'applied', 'cancelling')",
        command_id,
    )
    async with open_bus(served.gateway.settings, "test") as bus:
        await bus.publish_transient(CommandApplied(command_ids=(command_id,)))
    assert (await waiting)["outcome"] == "applied"
