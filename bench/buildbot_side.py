"""Measures Buildbot: a new master and worker as processes, its GitHub change hook, and its event stream.

The master's `/sse` sends `builds/*/finished` when a build has ended and its log is stored, which stops the
clock. Nothing is polled, so the master has no work beside the builds.
"""

import asyncio
import contextlib
import json
import secrets
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench import loud
from bench.buildbot_venv import buildbot_programs
from bench.figures import Json, Measured, median, megabytes
from bench.load import Job
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
from devstack import processes
from devstack.ports import kept_ports
from devstack.processes import Command, PidFile, Process
from devstack.settings import inherited_environment

CONFIGURATION = Path(__file__).with_name("buildbot") / "master.cfg"
ACCEPT_SECONDS = 20
HELLO_BUILDS = 50
HELLO_SECONDS = 40
"""No build is started after this time, so there may be fewer builds."""
BURST_BUILDS = 150
BURST_SECONDS = 80
"""Buildbot completes 2 to 3 builds a second, so the whole benchmark stays within its time."""
LOUD_LINES = 200_000
BUILDS_AT_ONCE = 4
READY_SECONDS = 60


@dataclass(frozen=True)
class BuildbotSide:
    """A running Buildbot without any builds."""

    directory: Path
    port: int
    secret: str
    session: aiohttp.ClientSession

    @property
    def hook(self) -> str:
        return self._url("/change_hook/github")

    @property
    def figures(self) -> dict[str, Callable[[], Awaitable[Measured]]]:
        return {"B2": self.hello, "B5": self.loud, "B1": self.accept, "B4": self.burst}

    def services(self) -> dict[str, Process | None]:
        return {}

    async def is_ready(self) -> bool:
        """Return True if the master answers and its worker is connected."""
        try:
            return any(worker["connected_to"] for worker in (await self._get("/api/v2/workers"))["workers"])
        except (aiohttp.ClientConnectionError, TimeoutError):
            return False

    async def accept(self) -> Measured:
        """B1: pushes of a repository that no scheduler handles."""
        load = await send_many(
            Job(
                self.port,
                "/change_hook/github",
                self._series("quiet"),
                most=100 * ACCEPT_SECONDS,
                seconds=ACCEPT_SECONDS,
            )
        )
        return accepted_per_second(load)

    async def hello(self) -> Measured:
        """B2: one push at a time. The time counts from sending it until its build has ended."""
        series, taken = self._series("hello"), []
        async with self._finished_builds() as finished:
            last_start_at = time.perf_counter() + HELLO_SECONDS
            for number in range(HELLO_BUILDS):
                started_at = time.perf_counter()
                if started_at > last_start_at:
                    break
                await send_one(self.session, self.hook, series, number)
                _must_succeed(await anext(finished))
                taken.append(time.perf_counter() - started_at)
                await asyncio.sleep(PAUSE_SECONDS)
        return median(taken, {"builds": len(taken)})

    async def burst(self) -> Measured:
        """B4: all pushes as fast as they are accepted, until the last build has ended or the time is over."""
        job = Job(
            self.port, "/change_hook/github", self._series("burst"), most=BURST_BUILDS, seconds=BURST_SECONDS
        )
        built, ended_at = 0, 0.0
        async with self._finished_builds() as finished, sending(job) as sent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BURST_SECONDS):
                    while built < BURST_BUILDS:
                        _must_succeed(await anext(finished))
                        built, ended_at = built + 1, time.time()
        load = await sent
        seconds = ended_at - load.first_sent_at
        details: dict[str, Json] = {
            "builds": built,
            "at_once": BUILDS_AT_ONCE,
            "until_last_seconds": round(seconds, 3),
        }
        return Measured(built / seconds, {**details, "webhooks": load_details(load)})

    async def loud(self) -> Measured:
        """B5: one build that prints many lines, until it has ended.

        Its log is then read back and verified.
        """
        async with self._finished_builds() as finished:
            started_at = time.perf_counter()
            await send_one(self.session, self.hook, self._series("loud"), 0)
            build = await anext(finished)
            seconds = time.perf_counter() - started_at
        _must_succeed(build)
        await self._prove_log(build)
        return megabytes(LOUD_LINES * loud.LINE_BYTES, seconds)

    async def _prove_log(self, build: dict[str, Json]) -> None:
        """Verify that the stored log is what the job printed.

        Buildbot compresses a log right after the build. A read during the compression returns some lines
        twice, so a failed check is repeated.
        """
        wanted = loud.proof(loud.content(LOUD_LINES))
        for _ in range(10):
            if await self._log_of(build) == wanted:
                return
            await asyncio.sleep(1)
        raise BenchError("the stored log is not what the job printed")

    async def _log_of(self, build: dict[str, Json]) -> tuple[int, str]:
        steps = await self._get(f"/api/v2/builds/{build['buildid']}/steps")
        logs = [
            log
            for step in steps["steps"]
            for log in (await self._get(f"/api/v2/steps/{step['stepid']}/logs"))["logs"]
        ]
        async with self.session.get(
            self._url(f"/api/v2/logs/{logs[0]['logid']}/raw"), timeout=aiohttp.ClientTimeout(120)
        ) as response:
            return loud.proof((await response.read()).splitlines(keepends=True))

    @asynccontextmanager
    async def _finished_builds(self) -> AsyncIterator[AsyncIterator[dict[str, Json]]]:
        """Yield the builds that end from now on, in this order."""
        async with self.session.get(
            self._url("/sse/listen/builds/*/finished"), timeout=aiohttp.ClientTimeout(None)
        ) as response:
            handshake = await response.content.readuntil(b"\n\n")
            if b"handshake" not in handshake:
                raise BenchError(f"Buildbot's event stream began with {handshake!r}")
            yield _builds(response.content)

    async def _get(self, path: str) -> dict[str, list[dict[str, Json]]]:
        async with self.session.get(self._url(path)) as response:
            answer: dict[str, list[dict[str, Json]]] = await response.json(content_type=None)
            return answer

    def _series(self, name: str) -> Series:
        return Series(f"bench/{name}", 1, self.secret, seed=f"buildbot {name}")

    def _url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@asynccontextmanager
async def buildbot(directory: Path, say: Callable[[str], None]) -> AsyncIterator[BuildbotSide]:
    """Run a new Buildbot for the duration of the block. No process is left afterwards.

    Raises BenchError if it does not start.
    """
    programs = await asyncio.to_thread(buildbot_programs, directory, say)
    place = directory / "buildbot"
    processes.stop(processes.of_stack(place), grace_seconds=10)  # left by a killed benchmark
    shutil.rmtree(place, ignore_errors=True)
    ports = kept_ports(place / "ports.json", {"http": None, "worker": None})
    secret, password = secrets.token_hex(16), secrets.token_hex(16)
    await asyncio.to_thread(_make, programs, place, ports["worker"], password)
    _configure(
        place,
        {
            "secret": secret,
            "worker_password": password,
            "http_port": ports["http"],
            "worker_port": ports["worker"],
        },
    )
    timeout = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=timeout, headers={"Accept-Encoding": "identity"}) as session:
        try:
            await asyncio.to_thread(_start, programs, place)
            side = BuildbotSide(place, ports["http"], secret, session)
            await _until_ready(side)
            yield side
        finally:
            await asyncio.to_thread(lambda: processes.stop(processes.of_stack(place), grace_seconds=10))


def _make(programs: Path, place: Path, worker_port: int, password: str) -> None:
    create_worker = [
        "buildbot-worker",
        "create-worker",
        "worker",
        f"127.0.0.1:{worker_port}",
        "bench",
        password,
    ]
    for name, *arguments in (["buildbot", "create-master", "master"], create_worker):
        done = subprocess.run(
            [str(programs / name), *arguments],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise BenchError(f"{name} {arguments[0]} failed: {(done.stdout + done.stderr)[-800:]}")


def _configure(place: Path, settings: dict[str, Json]) -> None:
    commands: dict[str, Json] = {"hello": "echo hi", "burst": "echo hi", "loud": loud.command(LOUD_LINES)}
    (place / "master" / "bench.json").write_text(
        json.dumps(settings | {"max_builds": BUILDS_AT_ONCE, "commands": commands})
    )
    shutil.copy(CONFIGURATION, place / "master" / "master.cfg")


def _start(programs: Path, place: Path) -> None:
    for name in ("master", "worker"):
        argv = [str(programs / "twistd"), "--nodaemon", "--no_save", "--python=buildbot.tac"]
        command = Command(argv, place / f"{name}.out", inherited_environment(place, {}), place / name)
        processes.start(command, PidFile(place / f"{name}.pid"))


async def _until_ready(side: BuildbotSide) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not await side.is_ready():
        if time.monotonic() > deadline:
            raise BenchError(
                f"Buildbot is not ready after {READY_SECONDS} "
                f"s:\n{processes.tail(side.directory / 'master' / 'twistd.log')}"
            )
        await asyncio.sleep(0.2)


async def _builds(stream: aiohttp.StreamReader) -> AsyncIterator[dict[str, Json]]:
    async for line in stream:
        if line.startswith(b"data: "):
            build: dict[str, Json] = json.loads(line[6:])["message"]
            yield build
    raise BenchError("Buildbot closed its event stream")


def _must_succeed(build: dict[str, Json]) -> None:
    if build["results"] != 0:
        raise BenchError(
            f"build {build['number']} ended with result {build['results']}: {build['state_string']}"
        )
