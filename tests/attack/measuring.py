"""Starts the attackers and measures what two tenants notice: webhooks at a steady rate, and runs in turn."""

import asyncio
import collections
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field

import aiohttp

from bench.sending import BenchError, send_one
from bench.store import Wanted
from tests.attack.attackers import Order
from tests.attack.installation import Installation
from tests.attack.verdicts import Phase
from tests.harness.footprint import memory_bytes

PER_SECOND = 40
"""Webhooks of the second client. In 15 s they are so many that p99 is not their maximum."""
ANSWER_SECONDS = 10
"""Forges wait no longer."""
START_SECONDS = 20
PAUSE_SECONDS = 0.1
"""The pause between the end of a run and the next push."""
POLL_SECONDS = 0.008
_BEGUN = {"running", "success"}
BEGUN = Wanted("a run's start", "hello_run", lambda row: row["status"] in _BEGUN, START_SECONDS, POLL_SECONDS)
ENDED = Wanted(
    "a run's end", "hello_run", lambda row: row["status"] == "success", START_SECONDS, POLL_SECONDS
)
SETTLE_SECONDS = 90
GRACE_SECONDS = 5
"""The time that the attackers get to end after their attack."""


@dataclass
class Seen:
    """The measurements of the tenants in one phase."""

    answer_seconds: list[float] = field(default_factory=list)
    refused: "collections.Counter[str]" = field(default_factory=collections.Counter)
    late_seconds: float = 0
    """The longest delay of a webhook before it was sent, because this process got no processor."""
    start_seconds: list[float] = field(default_factory=list)
    not_started: int = 0


@dataclass
class Tenants:
    """Both tenants. Each webhook has its own connection, as those of a forge usually have."""

    installation: Installation
    session: aiohttp.ClientSession
    webhooks: int = 0
    runs: int = 0

    async def measure(self, name: str, seconds: float, attackers: "Attackers | None" = None) -> Phase:
        """Measure one phase. It ends when every accepted webhook is decided."""
        seen = Seen()
        end_at = time.perf_counter() + seconds
        await asyncio.gather(self._send_steadily(end_at, seen), self._start_runs(end_at, seen))
        load = os.getloadavg()[0]
        answers = await attackers.end() if attackers else {}
        over_at = time.perf_counter()
        await self.installation.settled(SETTLE_SECONDS)
        return Phase(
            name=name,
            answer_seconds=seen.answer_seconds,
            refused=dict(seen.refused),
            late_seconds=round(seen.late_seconds, 4),
            start_seconds=seen.start_seconds,
            not_started=seen.not_started,
            memory_bytes=gateway_bytes(self.installation)[0],
            load_average=round(load, 2),
            answers=answers,
            recovery_seconds=round(time.perf_counter() - over_at, 3),
        )

    async def _send_steadily(self, end_at: float, seen: Seen) -> None:
        """Send webhooks without waiting for the answer to the previous one.

        A late one delays those after it.
        """
        due_at = time.perf_counter()
        async with asyncio.TaskGroup() as sending:
            while due_at < end_at:
                await asyncio.sleep(max(0, due_at - time.perf_counter()))
                seen.late_seconds = max(seen.late_seconds, time.perf_counter() - due_at)
                self.webhooks += 1
                sending.create_task(self._send(self.webhooks, seen))
                due_at = max(due_at + 1 / PER_SECOND, time.perf_counter())

    async def _send(self, number: int, seen: Seen) -> None:
        running, sent_at = self.installation.running, time.perf_counter()
        try:
            await send_one(self.session, running.hook, self.installation.webhooks, number)
        except BenchError as error:
            seen.refused[str(error)] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            seen.refused[type(error).__name__] += 1
        else:
            seen.answer_seconds.append(time.perf_counter() - sent_at)

    async def _start_runs(self, end_at: float, seen: Seen) -> None:
        """Start runs one after the other."""
        running, series = self.installation.running, self.installation.runs
        while time.perf_counter() < end_at:
            self.runs += 1
            sent_at = time.perf_counter()
            try:
                await send_one(self.session, running.hook, series, self.runs)
                await running.watch.until(BEGUN, series.sha(self.runs))
            except (BenchError, aiohttp.ClientError, TimeoutError):
                seen.not_started += 1
                continue
            seen.start_seconds.append(time.perf_counter() - sent_at)
            await running.watch.until(ENDED, series.sha(self.runs))
            await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def tenants(installation: Installation) -> AsyncIterator[Tenants]:
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        yield Tenants(installation, session)


class Attackers:
    """The processes of one attack, each in a session of its own."""

    def __init__(self, processes: list[asyncio.subprocess.Process], seconds: float) -> None:
        self._processes = processes
        self._seconds = seconds

    async def end(self) -> dict[str, int]:
        """Wait until all processes have ended, and return the number of their answers by status.

        A process that failed contributes nothing.
        """
        answers: collections.Counter[str] = collections.Counter()
        for process in self._processes:
            assert process.stdout
            async with asyncio.timeout(self._seconds + GRACE_SECONDS):
                printed = await process.stdout.read()
                await process.wait()
            answers.update(json.loads(printed or "{}"))
        return dict(answers)


@asynccontextmanager
async def attacking(orders: list[Order]) -> AsyncIterator[Attackers]:
    """Start the attack before the block begins, and end all its processes after the block."""
    processes = []
    try:
        for _ in orders:
            processes.append(  # noqa: PERF401 - so that the ones before are ended where one does not start
                await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "tests.attack.attackers",
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
                )
            )  # fmt: skip
        for process, order in zip(processes, orders, strict=True):
            assert process.stdin
            process.stdin.write(json.dumps(asdict(order)).encode() + b"\n")
            await process.stdin.drain()
        for process in processes:
            assert process.stdout
            async with asyncio.timeout(GRACE_SECONDS * 4):
                assert await process.stdout.readline() == b"ready\n", "an attacking process did not start"
        yield Attackers(processes, orders[0].seconds)
    finally:
        for process in processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


def gateway_bytes(installation: Installation) -> tuple[int, int]:
    """Return the resident memory of the gateway's process: the current value and the maximum so far."""
    process = installation.running.stack.process("gateway")
    assert process, "the gateway has ended"
    return memory_bytes(process.pid)
