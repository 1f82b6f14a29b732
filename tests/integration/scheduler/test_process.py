"""The scheduler as a process, with its bus: it receives, decides, admits, announces and stops cleanly."""

import asyncio
import os
import signal
import sys

from pydantic import SecretStr

from shared.messaging.bus import open_bus
from shared.messaging.messages import DeliveryAccepted
from shared.settings import BusSettings
from tests.harness.github import push
from tests.integration.scheduler.world import World


async def test_a_told_delivery_becomes_an_announced_attempt_and_the_process_ends_well(
    world: World, amqp_url: str
) -> None:
    await world.repository()
    await world.pipeline()
    delivery_id = await world.delivery(push(world.octo_web))
    environment = os.environ | {
        "TOWPATH_DATABASE_URL": world.url,
        "TOWPATH_AMQP_URL": amqp_url,
        "TOWPATH_RECONCILE_SECONDS": "10",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.scheduler", env=environment
    )
    ended = asyncio.create_task(process.wait())
    try:
        async with open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "test") as bus, asyncio.timeout(30):
            await bus.publish(DeliveryAccepted(delivery_ids=(delivery_id,)))
            while not await world.sent("attempt.ready"):
                await asyncio.wait([ended], timeout=0.05)
        job = (await world.jobs())["build"]
        assert (await world.sent("attempt.ready"))[0].jobs == ((job["id"], 1),)
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(ended, 30) == 0
