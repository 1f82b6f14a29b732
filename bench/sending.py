"""Sends webhooks and returns the results: single ones from this process, many from a separate process."""

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
"""The pause between two runs that are timed one by one, so that cleanup of one does not slow the next."""


class BenchError(Exception):
    """A figure cannot be measured. The message gives the reason."""


async def send_many(job: Job) -> Load:
    """Run a load job to its end. Raises BenchError if the sender fails or exceeds its time."""
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
    """Send webhooks while the block runs. At its end, wait for the result.

    If the block fails, the sender is stopped. If the sender fails, the end of the block raises its error.
    """
    task = asyncio.create_task(send_many(job))
    try:
        yield task
        await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def send_one(session: aiohttp.ClientSession, url: str, series: Series, number: int) -> None:
    """Send one webhook. Raises BenchError if it is not accepted."""
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
