"""The log sink as a process: it handles messages, survives `kill -9`, and stops cleanly."""

import asyncio
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from shared.messaging.bus import open_bus
from shared.messaging.messages import ContainerStarted
from shared.settings import BusSettings
from tests.fakes.pod_directory import FakePod, cri
from tests.harness.waiting import until
from tests.integration.logsink.running import Record


@asynccontextmanager
async def log_sink(
    database_url: str, amqp_url: str, module: str = "services.logsink", **more: str
) -> AsyncIterator["asyncio.subprocess.Process"]:
    """Run a log sink process, and kill it at the end of the block if it still runs.

    `more` are additional environment variables.
    """
    settings = {
        "TOWPATH_DATABASE_URL": database_url,
        "TOWPATH_AMQP_URL": amqp_url,
        "TOWPATH_LOG_LEASE_SECONDS": "1",
        "TOWPATH_LOG_TAKE_OVER_SECONDS": "0.2",
        **more,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, env={**os.environ, **settings}, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.slow
@pytest.mark.timeout(400)
async def test_f34_killed_again_and_again_the_log_is_exact(
    database_url: str, amqp_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    numbers = itertools.count(1)
    printed = b""

    def prints(lines: int) -> None:
        nonlocal printed
        text = b"".join(b"line %07d\n" % next(numbers) for _ in range(lines))
        pod.append(cri(text, first=len(printed)))
        printed += text

    async def stored_bytes() -> int:
        stream = await record.stream(attempt_id)
        return stream["stored_bytes"] if stream else 0

    async with open_bus(BusSettings(amqp_url=SecretStr(amqp_url)), "test") as bus:
        await bus.publish(ContainerStarted(attempt_ids=(attempt_id,)))
    for number in range(4):
        async with log_sink(database_url, amqp_url):
            before = await stored_bytes()

            async def goes_on(before: int = before) -> bool:
                prints(200)
                return await stored_bytes() > before

            await until(goes_on, within=60, what=f"going on after {number} kills")
            prints(20_000)
    pod.end()
    async with log_sink(database_url, amqp_url) as process:
        stream = await record.sealed(attempt_id, within=60)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 15) == 0
    assert await record.text(attempt_id) == printed
    assert stream["gaps"] == []
    assert stream["epoch"] >= 5
