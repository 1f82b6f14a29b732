"""A walk over the crash points of one service.

The service dies at each point in turn and is started again with the next point armed. At the end the walk
checks all runs.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import aiohttp

from tests.chaos.points import Point
from tests.chaos.proxy import Mode, Proxy
from tests.harness.client import Answer
from tests.harness.github import push
from tests.harness.installation import Towpath, one_job
from tests.harness.oracle import Oracle
from tests.harness.waiting import until

LINES = 20
EXPECTED = b"".join(b"line %d\n" % number for number in range(1, LINES + 1))
REACHED_SECONDS = 30
AGAIN_SECONDS = 1.5
"""The seconds to wait for the service to die before another delivery is sent."""


@dataclass
class Driven:
    """The requests that were sent while one point was armed."""

    point: Point
    shas: list[str] = field(default_factory=list)
    retried: list[int] = field(default_factory=list)
    """The ids of retried runs."""


class Walk:
    """The walk of one service. `proxy` is between the gateway and Postgres."""

    def __init__(self, towpath: Towpath, gateway_database: str, proxy: Proxy) -> None:
        self._towpath = towpath
        self._gateway_environment = {"TOWPATH_DATABASE_URL": gateway_database}
        self._proxy = proxy
        self._asked: list[asyncio.Task[None]] = []
        self.driven: list[Driven] = []

    async def prepare(self, failed_runs: int) -> None:
        """Create pipelines for the pushes, and failed runs to retry."""
        towpath = self._towpath
        person = await towpath.person()
        self._repository = await towpath.repository(person)
        self._oracle: Oracle = towpath.oracle()
        script = f'{self._oracle.append("$TOWPATH_SHA")}\nfor i in $(seq 1 {LINES}); do echo "line $i"; done'
        self._pipeline = await towpath.pipeline(person, one_job(self._repository, script))
        failing = await towpath.repository(person)
        self._failing = await towpath.pipeline(person, one_job(failing, "exit 3"))
        for _ in range(failed_runs):
            await towpath.deliver_push(failing)
        self._to_retry = (
            [
                run["id"]
                for run in await until(lambda: self._failed(failed_runs), within=30, what="failed runs")
            ]
            if failed_runs
            else []
        )
        await asyncio.to_thread(towpath.stack.kill, "gateway")
        await self.start("gateway")

    async def start(self, service: str, armed: str = "") -> None:
        environment = {
            "TOWPATH_CRASHPOINT": armed,
            **(self._gateway_environment if service == "gateway" else {}),
        }
        await asyncio.to_thread(self._towpath.stack.start, service, 1, environment)

    async def die_at(self, point: Point, passage: int) -> None:
        """Start the service with this point armed, and send requests until it dies there.

        The service has to be down before, and is down afterwards. Raises AssertionError if it did not die
        there in time.
        """
        driven = Driven(point)
        self.driven.append(driven)
        await self.start(point.service, f"{point.name}:{passage}")
        try:
            await self._drive(point)(driven)
        finally:
            self._proxy.become(Mode.PASS)
        assert f"crashpoint {point.name}" in self._towpath.stack.log(point.service).read_text(
            errors="replace"
        ), f"{point} ended otherwise"

    async def outcome(self) -> list[str]:
        """Wait for all runs and return the errors, a line each."""
        await asyncio.wait_for(asyncio.gather(*self._asked), 60)
        wrong = []
        for driven in self.driven:
            for sha in driven.shas:
                wrong += [f"{driven.point}: {what}" for what in await self._wrong_with(sha)]
            for run_id in driven.retried:
                wrong += [f"{driven.point}: {what}" for what in await self._wrong_with_retry(run_id)]
        return wrong

    def _drive(self, point: Point) -> Callable[[Driven], Awaitable[None]]:
        """Return the method whose requests make a service pass this point."""
        gateway = point.service == "gateway"
        if point.name.startswith("gateway.inlet") or (gateway and point.name.startswith("consuming.")):
            return self._push_past_the_database
        if point.name.startswith("scheduler.command") or (gateway and point.name.startswith("store.")):
            return self._retry
        return self._push

    async def _push(self, driven: Driven) -> None:
        for _ in range(int(REACHED_SECONDS / AGAIN_SECONDS)):
            self._ask(self._deliver(driven))
            if await self._dead(driven.point.service, AGAIN_SECONDS):
                return
        raise AssertionError(f"{driven.point} was not passed")

    async def _push_past_the_database(self, driven: Driven) -> None:
        """Cut the gateway from Postgres until the delivery is in the inlet or the gateway has died.

        The gateway may also die earlier, because of a delivery that an earlier call left in the inlet.
        """
        await until(lambda: self._ready_or_dead(driven.point.service), within=60, what="the gateway")
        self._proxy.become(Mode.REFUSE)
        asked = self._ask(self._deliver(driven))
        deadline = asyncio.get_running_loop().time() + 10
        while (
            not asked.done()
            and asyncio.get_running_loop().time() < deadline
            and not await self._dead(driven.point.service, 0.1)
        ):
            pass
        self._proxy.become(Mode.PASS)
        assert await self._dead(driven.point.service, REACHED_SECONDS), f"{driven.point} was not passed"

    async def _retry(self, driven: Driven) -> None:
        run_id = int(str(self._to_retry.pop()))
        driven.retried.append(run_id)
        key = uuid4().hex

        async def ask() -> None:
            await self._answered(
                lambda: self._towpath.admin.post(
                    f"/runs/{run_id}/retry", {}, headers={"Idempotency-Key": key}
                )
            )

        self._ask(ask())
        assert await self._dead(driven.point.service, REACHED_SECONDS), f"{driven.point} was not passed"

    async def _deliver(self, driven: Driven) -> None:
        """Send one push until it is accepted, as a person does who presses `redeliver`."""
        payload, delivery_id = push(self._repository), str(uuid4())
        driven.shas.append(payload["after"])
        await self._answered(lambda: self._towpath.deliver(payload, delivery_id=delivery_id))

    @staticmethod
    async def _answered(ask: Callable[[], Awaitable[Answer]]) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    if (await ask()).status < 300:
                        return
            await asyncio.sleep(0.1)

    def _ask(self, asking: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(asking)
        self._asked.append(task)
        return task

    async def _ready_or_dead(self, service: str) -> bool:
        stack = self._towpath.stack
        return stack.process(service) is None or await asyncio.to_thread(stack.ready, service)

    async def _dead(self, service: str, seconds: float) -> bool:
        """Return whether the service has ended by itself within this time."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._towpath.stack.process(service) is not None:
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def _failed(self, count: int) -> list[dict[str, object]] | None:
        runs = await self._towpath.runs(self._failing)
        return runs if len(runs) == count and all(run["status"] == "failed" for run in runs) else None

    async def _wrong_with(self, sha: str) -> list[str]:
        async def found() -> list[dict[str, object]]:
            runs: list[dict[str, object]] = (
                (await self._towpath.admin.get(f"/runs?sha={sha}")).expect(200).json["items"]
            )
            return runs

        try:
            runs = await until(found, within=40, what="a run")
            if len(runs) != 1:
                return [f"{len(runs)} runs for {sha}"]
            run = await self._towpath.finished(int(str(runs[0]["id"])), within=40, sealed=True)
        except AssertionError as error:
            return [f"lost or stuck: {error}"]
        wrong = (
            []
            if run["status"] == "success"
            else [f"run {run['id']} is {run['status']} ({run['reason']}): {run['jobs'][0]['message']}"]
        )
        starts = self._oracle.lines.count(sha)
        wrong += [] if starts == 1 else [f"user code of run {run['id']} started {starts} times"]
        log = await self._towpath.log(run["id"], "only")
        return wrong + (
            []
            if log == EXPECTED
            else [f"the log of run {run['id']} is {log[:200]!r}, {len(log)} bytes instead of {len(EXPECTED)}"]
        )

    async def _wrong_with_retry(self, run_id: int) -> list[str]:
        async def found() -> list[dict[str, object]]:
            return [run for run in await self._towpath.runs(self._failing) if run["retry_of"] == run_id]

        runs = await until(found, within=40, what=f"the retry of run {run_id}")
        for run in runs:
            await self._towpath.finished(int(str(run["id"])), within=40, sealed=True)
        return [] if len(runs) == 1 else [f"{len(runs)} retries of run {run_id}"]
