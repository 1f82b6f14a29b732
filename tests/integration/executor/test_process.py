"""The executor as a process.

It handles messages. Its jobs keep running when it ends, and the next executor takes them over.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from shared.errors import Transient
from shared.messaging.bus import Bus, open_bus
from shared.messaging.messages import AttemptReady, Message
from shared.settings import BusSettings
from tests.harness.waiting import until
from tests.integration.executor.world import World


@asynccontextmanager
async def process_of(world: World, amqp_url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run an executor process, and kill it at the end of the block if it still runs."""
    settings = {
        "TOWPATH_DATABASE_URL": world.settings.database_url.get_secret_value(),
        "TOWPATH_AMQP_URL": amqp_url,
        "TOWPATH_LOCAL_DIR": str(world.settings.local_dir),
        "TOWPATH_LOCAL_MOUNTS": str(world.settings.local_mounts[0]),
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.executor",
        env={**os.environ, **settings},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def publish(bus: Bus, message: Message) -> None:
    """Publish the message as soon as the executor has declared its queue."""

    async def taken() -> bool:
        try:
            await bus.publish(message)
        except Transient:
            return False
        return True

    await until(taken, within=30, what="the executor's queue")


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_jobs_outlive_the_process_that_began_them(
    world: World, amqp_url: str, end: signal.Signals
) -> None:
    gate = world.settings.local_mounts[0] / "gate"
    wanted = await world.job(f"until [ -e {gate} ]; do sleep 0.05; done; exit 3")

    async def claimed() -> bool:
        attempt = await world.attempt(wanted)
        return attempt is not None and attempt["status"] == "claimed"

    async with (
        open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "test") as bus,
        process_of(world, amqp_url) as process,
    ):
        await publish(bus, AttemptReady(cluster="local", jobs=(wanted,)))
        await until(claimed, within=30, what="the claim")
        process.send_signal(end)
        assert await asyncio.wait_for(process.wait(), 20) == (0 if end is signal.SIGTERM else -end)
    gate.touch()
    async with process_of(world, amqp_url):
        attempt = await world.judged_by_itself(wanted)
    assert (attempt["outcome"], attempt["exit_code"]) == ("failed", 3)
