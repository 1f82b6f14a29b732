"""Steady load from clients that keep a journal.

A client records each event that got a 2xx answer, and repeats each request that got none. It sends some
requests twice.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp

from tests.chaos.pipelines import KINDS, Kind, pipeline_text
from tests.chaos.world import GITHUB_SECRET, REPLICAS, World
from tests.harness.backends import LocalBackend
from tests.harness.client import Answer, Client
from tests.harness.github import FakeRepository, push, signed_headers, to_bytes
from tests.harness.oracle import Oracle
from tests.harness.waiting import until

REQUEST_SECONDS = 8.0
TWICE = 0.15
"""The fraction of deliveries that are sent again, as by forges and by people who press `redeliver`."""
CANCELLED = 0.04
"""The fraction of runs that are cancelled."""
RETRIED = 0.3
"""The fraction of runs of a failing pipeline that are retried."""
_FAULTS = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(slots=True)
class Sent:
    """An event that the gateway accepted."""

    kind: str
    sha: str
    delivery_id: str
    accepted_at: float
    order: int = 0
    """The order of the pushes of a repository: a newer push has a higher number, sent as `pushed_at`."""
    cancelled: bool = False


@dataclass(slots=True)
class Journal:
    """The clients' knowledge. Times are of this machine's clock."""

    events: list[Sent] = field(default_factory=list)
    retries: list[int] = field(default_factory=list)
    """The runs whose retry was accepted."""
    repeated: int = 0
    refused: int = 0
    """The number of requests that got another answer than 2xx, or none. They were sent again."""
    slow_refusals: list[float] = field(default_factory=list)
    """The durations in seconds of 503 answers that took longer than two seconds."""
    given_up: list[str] = field(default_factory=list)
    """The errors of clients that gave up, for example because a wait timed out."""


class Load:
    """Sends pushes and commands at a given rate per second."""

    def __init__(self, world: World, session: aiohttp.ClientSession, oracle: Oracle, rate: float) -> None:
        self._world = world
        self._chance = random.Random(world.chance.random())  # noqa: S311 - to be repeated, not to be secret
        self._session = session
        self._token = (world.stack.directory / "token").read_text()
        self._oracle = oracle
        self._rate = rate
        self._asking: set[asyncio.Task[None]] = set()
        self._repositories: dict[str, FakeRepository] = {}
        self._orders: dict[str, int] = {}
        self.journal = Journal()
        self.pipelines: dict[str, int] = {}
        """The ids of the pipelines, by kind."""

    def client(self) -> Client:
        """Return an administrator's client of a random gateway."""
        return Client(
            self._session, self._world.stack.address("gateway", self._chance.choice(REPLICAS)), self._token
        )

    async def read(self, path: str) -> Answer:
        """Get the path until there is an answer. A 404 counts as an answer."""
        return await self._told(lambda: self.client().get(path), also=404)

    async def prepare(self) -> None:
        """Create a repository and a pipeline of each kind."""
        admin = self.client()
        for kind in KINDS:
            repository = self._repositories[kind.name] = FakeRepository(f"octo/{kind.name}")
            body = {
                "full_name": repository.full_name,
                "forge": "github",
                "forge_id": repository.forge_id,
                "clone_url": repository.clone_url,
            }
            (await admin.post("/repositories", body)).expect(201)
            text = pipeline_text(kind, repository.full_name, self._oracle, self._lock(kind))
            self.pipelines[kind.name] = (
                (await admin.post("/pipelines", {"name": kind.name, "yaml_config": text}))
                .expect(201)
                .json["id"]
            )

    def _lock(self, kind: Kind) -> Path | None:
        """Return the lock file of this kind, or None if jobs are pods, which share no files.

        The kernel releases the lock when the process that holds it ends, for any reason.
        """
        if not isinstance(self._world.backend, LocalBackend):
            return None
        lock = self._world.backend.mounts / f"lock-{kind.name}"
        lock.touch()
        lock.chmod(0o644)
        return lock

    async def run(self, while_going_on: asyncio.Task[None]) -> None:
        """Send pushes until the given task is done. Return when all clients have finished."""
        while not while_going_on.done():
            kind = self._chance.choices(KINDS, [kind.weight for kind in KINDS])[0]
            self._begin(self._push(kind))
            await asyncio.sleep(self._chance.expovariate(self._rate))
        await self.settled()

    async def settled(self) -> None:
        while self._asking:
            await asyncio.wait(self._asking)

    def _begin(self, asking: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(asking)
        self._asking.add(task)
        task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[None]) -> None:
        self._asking.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.journal.given_up.append(f"{type(error).__name__}: {error}")

    async def _push(self, kind: Kind) -> None:
        payload = push(self._repositories[kind.name])
        order = self._orders[kind.name] = max(self._orders.get(kind.name, 0) + 1, int(time.time()))
        payload["repository"]["pushed_at"] = order
        body, delivery_id = to_bytes(payload), str(uuid4())
        headers = signed_headers(GITHUB_SECRET, body, event="push", delivery_id=delivery_id)

        async def deliver() -> Answer:
            return (
                await self.client().as_(None).request("POST", "/webhooks/github", raw=body, headers=headers)
            )

        await self._told(deliver)
        sent = Sent(kind.name, payload["after"], delivery_id, time.time(), order)
        self.journal.events.append(sent)
        if self._chance.random() < TWICE:
            await asyncio.sleep(self._chance.uniform(0, 3))
            self.journal.repeated += 1
            await self._told(deliver)
        if self._chance.random() < CANCELLED:
            await self._cancel(sent)
        elif self._chance.random() < RETRIED and kind.fails:
            await self._retry(sent)

    async def _cancel(self, sent: Sent) -> None:
        run_id = await self._run_of(sent)
        await self._command(f"/runs/{run_id}/cancel")
        sent.cancelled = True

    async def _retry(self, sent: Sent) -> None:
        """Request a retry twice at once, as by a double click."""
        run_id = await self._run_of(sent)
        answers = await asyncio.gather(
            *(self._command(f"/runs/{run_id}/retry", until_done=True) for _ in range(2))
        )
        if any(answer.status < 300 for answer in answers):
            self.journal.retries.append(run_id)

    async def _command(self, path: str, *, until_done: bool = False) -> Answer:
        """Send a command under one idempotency key until it is answered.

        If `until_done`, a 409 means "not yet" and is repeated for up to 60 seconds.
        """
        headers = {"Idempotency-Key": uuid4().hex}
        ends_at = time.monotonic() + 60
        while True:
            answer = await self._told(lambda: self.client().post(path, {}, headers=headers), also=409)
            if answer.status != 409 or not until_done or time.monotonic() > ends_at:
                return answer
            await asyncio.sleep(0.5)

    async def _run_of(self, sent: Sent) -> int:
        async def check() -> int | None:
            answer = await self._told(lambda: self.client().get(f"/runs?sha={sent.sha}"))
            return next((int(run["id"]) for run in answer.json["items"]), None)

        return await until(check, within=120, what=f"a run of {sent.sha}")

    async def _told(self, ask: Callable[[], Awaitable[Answer]], also: int = 200) -> Answer:
        """Repeat the request until it gets a 2xx answer or the status `also`."""
        while True:
            started = time.monotonic()
            try:
                async with asyncio.timeout(REQUEST_SECONDS):
                    answer = await ask()
                if answer.status < 300 or answer.status == also:
                    return answer
                if answer.status == 503 and time.monotonic() - started > 2:
                    self.journal.slow_refusals.append(time.monotonic() - started)
            except _FAULTS:
                pass
            self.journal.refused += 1
            await asyncio.sleep(self._chance.uniform(0.2, 0.6))
