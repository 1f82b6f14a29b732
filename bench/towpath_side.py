"""Measures Towpath: pushes are sent over HTTP in GitHub's form, and the results are read from the tables.

The tables are read over a separate connection, so no service measures itself.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from bench import loud
from bench.disk_log import write_pod
from bench.figures import Json, Measured, median, megabytes
from bench.load import Job
from bench.machine import Clock
from bench.pushes import Series
from bench.sending import (
    PAUSE_SECONDS,
    BenchError,
    accepted_per_second,
    load_details,
    send_many,
    send_one,
    sending,
)
from bench.store import Wanted
from bench.towpath_stack import Running, running_towpath
from devstack.processes import Process
from shared.messaging.bus import open_bus
from shared.messaging.messages import ContainerStarted
from shared.settings import BusSettings

FORGE_IDS = {"quiet": 101, "hello": 102, "burst": 103, "loud": 104}
ACCEPT_SECONDS = 30
MOST_PER_SECOND = 6000
"""More than this machine can send and accept.

The sender prepares webhooks for this rate before its clock starts.
"""
DECIDE_SECONDS = 60
STEADY_PER_SECOND = 500
STEADY_SECONDS = 10
BEHIND_SECONDS = 1
"""Deliveries must be decided as fast as they are accepted.

No delivery may be undecided this long after the last one was accepted.
"""
HELLO_RUNS = 200
BURST_RUNS = 2000
BURST_SECONDS = 120
SEAL_SECONDS = 60
LOUD_LINES = 1_000_000
LOUD_SECONDS = 60
LOUD_POLL_SECONDS = 0.005


@dataclass(frozen=True)
class TowpathSide:
    """A running Towpath, and a directory for log files that it reads."""

    running: Running
    directory: Path

    @property
    def figures(self) -> dict[str, Callable[[], Awaitable[Measured]]]:
        named = (
            ("B2", self.hello),
            ("B5", self.loud),
            ("B5_files", self.files),
            ("B4", self.burst),
            ("B1", self.accept),
            ("B1_steady", self.steady),
        )
        return dict(named)

    def services(self) -> dict[str, Process | None]:
        return self.running.services()

    async def accept(self) -> Measured:
        """B1: pushes of a registered repository without a pipeline. All must be decided soon afterwards."""
        await self.running.register("quiet", FORGE_IDS["quiet"])
        before, clock = await self._stored(), self._clock()
        load = await send_many(self._job("quiet", MOST_PER_SECOND * ACCEPT_SECONDS, ACCEPT_SECONDS))
        spent = clock.spent()
        backlog = (await self.running.watch.one("waiting_deliveries"))["undecided"]
        decided_seconds = await self._decided(before + load.accepted, DECIDE_SECONDS)
        outcomes: dict[str, Json] = {**await self.running.watch.outcomes()}
        details: dict[str, Json] = {
            "backlog": backlog,
            "decided_after_seconds": decided_seconds,
            "outcomes": outcomes,
            "cpu_seconds": spent,
        }
        return accepted_per_second(load, details)

    async def steady(self) -> Measured:
        """B1_steady: the same at a steady rate. Webhooks must be decided as fast as they are accepted.

        Latencies count from the time at which a webhook was due.
        """
        most = STEADY_PER_SECOND * STEADY_SECONDS
        job = replace(
            self._job("quiet", most, STEADY_SECONDS + 1),
            first=MOST_PER_SECOND * ACCEPT_SECONDS,
            per_second=STEADY_PER_SECOND,
        )
        before, clock = await self._stored(), self._clock()
        load = await send_many(job)
        if load.accepted < most:
            raise BenchError(f"{load.accepted} of {most} webhooks were accepted: {load_details(load)}")
        decided_seconds = await self._decided(before + load.accepted, BEHIND_SECONDS)
        return Measured(
            load.p99_ms,
            {**load_details(load), "decided_after_seconds": decided_seconds, "cpu_seconds": clock.spent()},
        )

    async def hello(self) -> Measured:
        """B2: one push at a time.

        The time counts from sending it until its run has succeeded and its log is sealed.
        """
        await self.running.register("hello", FORGE_IDS["hello"], "echo hi")
        series, taken = self._series("hello"), []
        wanted = Wanted(
            "a run of `echo hi`",
            "hello_run",
            lambda row: row["status"] == "success" and row["sealed"] and not row["unsealed"],
            15,
        )
        clock = self._clock()
        for number in range(HELLO_RUNS):
            started_at = time.perf_counter()
            await send_one(self.running.session, self.running.hook, series, number)
            await self.running.watch.until(wanted, series.sha(number))
            taken.append(time.perf_counter() - started_at)
            await asyncio.sleep(PAUSE_SECONDS)
        return median(taken, {"runs": len(taken), "cpu_seconds": clock.spent()})

    async def burst(self) -> Measured:
        """B4: all pushes as fast as they are accepted, until the last run has ended.

        Every push must have exactly one run.
        """
        pipeline = await self.running.register("burst", FORGE_IDS["burst"], "echo hi")
        clock = self._clock()
        finished = Wanted(
            "finishing the runs",
            "runs_of_pipeline",
            lambda row: row["finished"] >= BURST_RUNS,
            BURST_SECONDS,
            poll_seconds=0.1,
        )
        async with sending(self._job("burst", BURST_RUNS, 60)) as sent:
            at_the_last = await self.running.watch.until(finished, pipeline)
        load = await sent
        seconds, spent = at_the_last["last_finished_at"].timestamp() - load.first_sent_at, clock.spent()
        sealed = Wanted(
            "sealing the logs",
            "runs_of_pipeline",
            lambda row: row["sealed"] >= BURST_RUNS,
            SEAL_SECONDS,
            poll_seconds=0.1,
        )
        after = await self.running.watch.until(sealed, pipeline)
        if (load.accepted, after["runs"], after["succeeded"]) != (BURST_RUNS, BURST_RUNS, BURST_RUNS):
            raise BenchError(
                f"{load.accepted} webhooks were accepted, there are {after['runs']} runs, "
                f"{after['succeeded']} succeeded"
            )
        counts: dict[str, Json] = {
            "runs": BURST_RUNS,
            "lost": load.accepted - after["finished"],
            "sealed": after["sealed"],
        }
        counts |= {
            "sealed_when_the_last_finished": at_the_last["sealed"],
            "until_last_seconds": round(seconds, 3),
        }
        return Measured(
            BURST_RUNS / seconds, {**counts, "webhooks": load_details(load), "cpu_seconds": spent}
        )

    async def loud(self) -> Measured:
        """B5: a job with much output, run by the local supervisor.

        Its log is then read from the API and verified.
        """
        await self.running.register("loud", FORGE_IDS["loud"], loud.command(LOUD_LINES))
        series, clock = self._series("loud"), self._clock()
        ended = Wanted(
            "the loud run",
            "stream_of_commit",
            lambda row: row["finished_at"] and row["sealed_at"],
            LOUD_SECONDS,
            LOUD_POLL_SECONDS,
        )
        started_at = time.perf_counter()
        await send_one(self.running.session, self.running.hook, series, 0)
        row = await self.running.watch.until(ended, series.sha(0))
        seconds, spent = time.perf_counter() - started_at, clock.spent()
        if row["status"] != "success" or row["gaps"] != "[]":
            raise BenchError(f"the loud run is not what it should be: {dict(row)}")
        if await self._log_of(row["run_id"]) != loud.proof(loud.content(LOUD_LINES)):
            raise BenchError("the stored log is not what the job printed")
        return megabytes(LOUD_LINES * loud.LINE_BYTES, seconds, {"cpu_seconds": spent})

    async def files(self) -> Measured:
        """B5_files: the same lines from a file on disk.

        The file belongs to a second attempt of the loud job, which no executor knows.
        """
        job = await self.running.watch.one("stream_of_commit", self._series("loud").sha(0))
        pod = self.directory / "pod"
        sha256 = await asyncio.to_thread(write_pod, pod, LOUD_LINES)
        attempt = await self.running.watch.finished_attempt(job["job_id"], 2, pod)
        sealed = Wanted(
            "sealing a log from disk",
            "stream_of_attempt",
            lambda row: row["sealed_at"] is not None,
            LOUD_SECONDS,
            LOUD_POLL_SECONDS,
        )
        async with open_bus(
            BusSettings.model_validate({"amqp_url": self.running.stack.amqp_url}), "bench"
        ) as bus:
            await bus.answers()
            started_at, clock = time.perf_counter(), self._clock()
            await bus.publish(ContainerStarted(attempt_ids=(attempt,)))
            row = await self.running.watch.until(sealed, attempt)
            seconds, spent = time.perf_counter() - started_at, clock.spent()
        if (row["stored_bytes"], row["lines"], row["sha256"], row["gaps"]) != (
            LOUD_LINES * loud.LINE_BYTES,
            LOUD_LINES,
            sha256,
            "[]",
        ):
            raise BenchError(f"what was stored is not what lay on disk: {dict(row)}")
        return megabytes(row["stored_bytes"], seconds, {"cpu_seconds": spent})

    async def _stored(self) -> int:
        return int((await self.running.watch.one("waiting_deliveries"))["stored"])

    async def _decided(self, stored: int, seconds: float) -> float:
        """Wait until every delivery has its outcome, and return the seconds that this took.

        Raises BenchError if fewer deliveries are stored than were accepted.
        """
        started_at = time.perf_counter()
        decided = Wanted(
            "deciding what was accepted",
            "waiting_deliveries",
            lambda row: not row["undecided"],
            seconds,
            poll_seconds=0.1,
        )
        row = await self.running.watch.until(decided)
        if row["stored"] < stored:
            raise BenchError(f"of webhooks accepted, {stored - row['stored']} are not stored")
        return round(time.perf_counter() - started_at, 3)

    async def _log_of(self, run_id: int) -> tuple[int, str]:
        """Return the proof of the run's only log as the API serves it."""
        url = f"{self.running.stack.address()}/runs/{run_id}/logs?job=job&attempt=1&container=job"
        async with self.running.session.get(url, timeout=aiohttp.ClientTimeout(120)) as response:
            if response.status != 200:
                raise BenchError(f"the run's log was answered {response.status}")
            return loud.proof((await response.read()).splitlines(keepends=True))

    def _series(self, name: str) -> Series:
        return Series(f"bench/{name}", FORGE_IDS[name], self.running.secret, seed=f"towpath {name}")

    def _job(self, name: str, most: int, seconds: float) -> Job:
        return Job(self.running.stack.port("gateway"), "/webhooks/github", self._series(name), most, seconds)

    def _clock(self) -> Clock:
        return Clock(self.running.services() | self.running.servers())


@asynccontextmanager
async def towpath(directory: Path, say: Callable[[str], None]) -> AsyncIterator[TowpathSide]:
    """Run a new Towpath for the duration of the block."""
    async with running_towpath(directory, say) as running:
        yield TowpathSide(running, directory)
