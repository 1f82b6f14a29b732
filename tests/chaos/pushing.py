"""Pushes to a world under a fault, and the checks of their runs."""

import asyncio
import contextlib
import secrets
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg

from tests.chaos.world import GITHUB_SECRET, World
from tests.harness.client import Answer, Client
from tests.harness.github import FakeRepository, push, signed_headers, to_bytes
from tests.harness.scenes import document, job
from tests.harness.waiting import until

_RUNS = """\
SELECT r.id, r.sha, r.status::text, r.reason::text,
       (SELECT count(*) FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE j.run_id = r.id) AS attempts,
       (SELECT bool_and(s.sealed_at IS NOT NULL) FROM log_streams s WHERE s.run_id = r.id) AS sealed
  FROM pipeline_runs r WHERE r.pipeline_config_id = $1 ORDER BY r.id"""


class Pushes:
    """A pipeline of one job, and the commits that were accepted for it.

    The job's user code appends a line to the oracle each time it starts.
    """

    def __init__(self, world: World, session: aiohttp.ClientSession) -> None:
        self._world = world
        self._client = Client(session, world.stack.address(), (world.stack.directory / "token").read_text())
        self._oracle = world.backend.oracle()
        self._repository = FakeRepository(f"octo/repo-{secrets.token_hex(5)}")
        self.accepted: list[str] = []
        self.refused: set[str] = set()
        """Commits of pushes that were sent once and not accepted.

        Such a delivery may be stored all the same, if the answer to its COMMIT did not arrive in time.
        """
        self.pipeline_id = 0

    async def prepare(
        self, script: str = "true", run: Mapping[str, Any] | None = None, **fields: object
    ) -> "Pushes":
        """Create the repository and the pipeline. `fields` are added to the job, `run` to the document."""
        body = {
            "full_name": self._repository.full_name,
            "forge": "github",
            "forge_id": self._repository.forge_id,
            "clone_url": self._repository.clone_url,
        }
        (await self._client.post("/repositories", body)).expect(201)
        text = document(
            self._repository.full_name,
            {"only": job(f"{self._oracle.append('$TOWPATH_SHA')}\n{script}", **fields)},
            **(run or {}),
        )
        answer = await self._client.post(
            "/pipelines", {"name": self._repository.full_name, "yaml_config": text}
        )
        self.pipeline_id = answer.expect(201).json["id"]
        return self

    async def send(self) -> Answer:
        """Send one push once."""
        payload = push(self._repository)
        answer = await self._request(to_bytes(payload), str(uuid4()))
        if answer.status < 300:
            self.accepted.append(payload["after"])
        else:
            self.refused.add(payload["after"])
        return answer

    async def deliver(self, count: int = 1) -> None:
        """Send this many pushes at once, each until it is accepted."""
        await asyncio.gather(*(self._deliver() for _ in range(count)))

    @property
    def started(self) -> list[str]:
        """Return the commit of each start of user code."""
        return self._oracle.lines

    async def user_code_runs(self, count: int = 1) -> None:
        async def check() -> bool:
            return len(self.started) >= count

        await until(check, within=30, what="user code")

    async def each_ran_once(
        self, *, within: float = 40, status: str = "success", reason: str | None = None
    ) -> None:
        """Check that each accepted push has one run with this verdict.

        Its log is sealed, and its user code started once.
        """

        async def over() -> bool:
            runs = await self.runs()
            return {run["sha"] for run in runs} >= set(self.accepted) and all(
                run["status"] not in {"pending", "running"} and run["sealed"] for run in runs
            )

        try:
            await until(over, within=within, what=f"{len(self.accepted)} verdicts")
        except AssertionError as error:
            raise AssertionError(f"{error}: {[tuple(run.values()) for run in await self.runs()]}") from None
        runs = await self.runs()
        shas = sorted(run["sha"] for run in runs)
        assert shas == sorted({*self.accepted, *(self.refused & set(shas))})
        assert {(run["status"], run["reason"], run["attempts"]) for run in runs} == {(status, reason, 1)}
        assert sorted(self.started) == shas

    async def log(self, run_id: int) -> bytes:
        return (await self._client.get(f"/runs/{run_id}/logs?job=only&container=job")).expect(200).raw

    async def runs(self) -> list[asyncpg.Record]:
        with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with self._world.database() as connection:
                return list(await connection.fetch(_RUNS, self.pipeline_id))
        return []

    async def _deliver(self) -> None:
        payload, delivery_id = push(self._repository), str(uuid4())
        self.accepted.append(payload["after"])
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                async with asyncio.timeout(5):
                    if (await self._request(to_bytes(payload), delivery_id)).status < 300:
                        return
            await asyncio.sleep(0.1)

    async def _request(self, body: bytes, delivery_id: str) -> Answer:
        headers = signed_headers(GITHUB_SECRET, body, event="push", delivery_id=delivery_id)
        return await self._client.as_(None).request("POST", "/webhooks/github", raw=body, headers=headers)
