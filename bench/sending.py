"""Sends webhooks from this process (one at a time) or from a process of its own (many), and says what came of
it.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import asdict

import aiohttp

from bench.figures import Json, Measured
from bench.load import ANSWER_SECONDS, Job, Load
from bench.pushes import Series

PAUSE_SECONDS = 0.1
"""Between two runs that are timed one by one, so that the clearing up of one is no part of the next."""


class BenchError(Exception):
    """A figure cannot be taken; the text says why."""


async def send_many(job: Job) -> Load:
    """Run a job of load to its end. Raises BenchError where the sender fails or exceeds its time."""
    sender = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bench.load",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(job.seconds + ANSWER_SECONDS + 60):
            printed, complaint = await sender.communicate(json.dumps(asdict(job)).encode())
    except TimeoutError:
        raise BenchError("the sender of webhooks did not end in time") from None
    finally:
        if sender.returncode is None:
            sender.kill()
            await sender.wait()
    if sender.returncode:
        raise BenchError(f"the sender of webhooks failed: {complaint.decode(errors='replace')[-500:]}")
    load = Load(**json.loads(printed))
    if not load.accepted:
        raise BenchError(f"no webhook was accepted: {load.statuses}, {load.unanswered} unanswered")
    return load


@asynccontextmanager
async def sending(job: Job) -> AsyncIterator[asyncio.Task[Load]]:
    """Send while the block lasts; its end waits for what came of it, and a failure of either ends both."""
    task = asyncio.create_task(send_many(job))
    try:
        yield task
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def send_one(session: aiohttp.ClientSession, url: str, series: Series, number: int) -> None:
    """Raises BenchError where it is not accepted."""
    end = series.end(number)
    async with session.post(
        url, data=series.beginning + end, headers=series.headers(number, end)
    ) as response:
        if response.status not in {200, 202}:
            raise BenchError(f"a webhook was answered {response.status}: {(await response.text())[:300]}")


def accepted_per_second(load: Load, details: Mapping[str, Json] | None = None) -> Measured:
    return Measured(load.accepted / load.seconds, {**load_details(load), **(details or {})})


def load_details(load: Load) -> dict[str, Json]:
    statuses: dict[str, Json] = dict(load.statuses)
    return {
        "accepted": load.accepted,
        "statuses": statuses,
        "unanswered": load.unanswered,
        "seconds": round(load.seconds, 3),
        "p50_ms": round(load.p50_ms, 2),
        "p99_ms": round(load.p99_ms, 2),
        "longest_ms": round(load.longest_ms, 2),
        "sender_cpu_seconds": round(load.cpu_seconds, 2),
    }
