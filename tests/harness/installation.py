"""A whole installation under test: the services as processes, and the actions of tests."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from devstack.stack import SERVICES, Stack
from tests.harness.backends import Backend
from tests.harness.client import Answer, Client
from tests.harness.github import FakeRepository, push, signed_headers, to_bytes
from tests.harness.oracle import Gate, Oracle
from tests.harness.waiting import until

GITHUB_SECRET = "It's a Secret to Everybody"
GITEA_SECRET = "nobody knows"
TERMINAL = {"success", "failed", "cancelled", "error", "skipped"}

TRIVIAL = """\
version: 1
name: trivial
repository: {repository}
on: {{ push: {{}} }}
jobs:
  only:
    checkout: false
    steps:
      - run: |
{script}
"""


@dataclass(frozen=True)
class Person:
    """A user with a token."""

    id: int
    client: Client


class Addressed(Protocol):
    """An installation with a gateway: a stack of processes, a compose project, or a deployment."""

    def address(self) -> str: ...


class Towpath:
    """An installation. `admin` has all rights; `person()` creates a user."""

    def __init__(self, place: Addressed, session: aiohttp.ClientSession, backend: Backend) -> None:
        self._place = place
        self.backend = backend
        self.session = session
        self.admin = Client(session, place.address())

    @property
    def stack(self) -> Stack:
        """The processes of the services. An installation in containers or in a cluster has none."""
        assert isinstance(self._place, Stack)
        return self._place

    @property
    def url(self) -> str:
        return self._place.address()

    async def start(self, services: Sequence[str] = SERVICES) -> None:
        """Run the migrations, create the first admin, and start the services. Return when all are ready."""
        await asyncio.to_thread(self.stack.run_module, "shared.database.migrate")
        printed = await asyncio.to_thread(self.stack.run_module, "services.gateway.bootstrap")
        token = next(
            line.removeprefix("TOWPATH_TOKEN=")
            for line in printed.splitlines()
            if line.startswith("TOWPATH_TOKEN=")
        )
        self.admin = Client(self.session, self.url, token.strip())
        for service in services:
            await asyncio.to_thread(self.stack.start, service)
        for service in services:
            await asyncio.to_thread(self.stack.wait_ready, service)

    async def restart(self, service: str) -> None:
        await asyncio.to_thread(self.stack.start, service)
        await asyncio.to_thread(self.stack.wait_ready, service)

    # -------------------------------------------------------- people and what they own

    async def person(self) -> Person:
        name = f"person-{secrets.token_hex(4)}"
        user = (
            (await self.admin.post("/users", {"name": name, "email": f"{name}@example.org"})).expect(201).json
        )
        token = (
            (
                await self.admin.post(
                    "/tokens", {"name": "test", "scopes": ["read", "write"], "user_id": user["id"]}
                )
            )
            .expect(201)
            .json["token"]
        )
        return Person(user["id"], self.admin.as_(token))

    async def repository(
        self, *maintainers: Person, clone_url: str = "https://github.example/none.git", **fields: Any
    ) -> FakeRepository:
        """Register a repository with a unique name."""
        repository = FakeRepository(f"octo/repo-{secrets.token_hex(5)}", clone_url=clone_url)
        await self.register(repository, *maintainers, **fields)
        return repository

    async def register(self, repository: FakeRepository, *maintainers: Person, **fields: Any) -> None:
        identity = {"full_name": repository.full_name, "forge": "github", "forge_id": repository.forge_id}
        body = {**identity, "clone_url": repository.clone_url, **fields}
        record = (await self.admin.post("/repositories", body)).expect(201).json
        for person in maintainers:
            answer = await self.admin.put(
                f"/repositories/{record['id']}/grants/{person.id}", {"role": "maintainer"}
            )
            assert answer.status in {200, 201, 204}, answer.text

    async def pipeline(self, person: Person, yaml: str, name: str | None = None) -> dict[str, Any]:
        body = {"name": name or f"pipeline-{secrets.token_hex(4)}", "yaml_config": yaml}
        record: dict[str, Any] = (await person.client.post("/pipelines", body)).expect(201).json
        return record

    def oracle(self) -> Oracle:
        return self.backend.oracle()

    def gate(self) -> Gate:
        return self.backend.gate()

    def clone_url(self, folder: Path) -> str:
        """Return the URL by which jobs clone a repository of this machine."""
        return self.backend.clone_url(folder)

    # -------------------------------------------------------- webhooks

    async def deliver(
        self,
        payload: dict[str, Any] | bytes,
        *,
        event: str = "push",
        delivery_id: str | None = None,
        secret: str = GITHUB_SECRET,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send a signed GitHub webhook, with these headers too."""
        body = payload if isinstance(payload, bytes) else to_bytes(payload)
        signed = signed_headers(secret, body, event=event, delivery_id=delivery_id)
        return await self.admin.as_(None).request(
            "POST", "/webhooks/github", raw=body, headers={**signed, **(headers or {})}
        )

    async def deliver_push(self, repository: FakeRepository, **fields: Any) -> str:
        """Send a push that must be accepted, and return its delivery id."""
        delivery_id: str = (await self.deliver(push(repository, **fields))).expect(202).json["delivery_id"]
        return delivery_id

    # -------------------------------------------------------- runs

    async def runs(self, pipeline: dict[str, Any]) -> list[dict[str, Any]]:
        """Return all runs of a pipeline, the newest first (at most 200)."""
        items: list[dict[str, Any]] = (
            (await self.admin.get(f"/runs?pipeline_config_id={pipeline['id']}&limit=200"))
            .expect(200)
            .json["items"]
        )
        return items

    async def run_of(self, pipeline: dict[str, Any], *, within: float = 20) -> dict[str, Any]:
        """Wait for the pipeline's only run and return it."""
        runs = await until(lambda: self.runs(pipeline), within=within, what="a run")
        assert len(runs) == 1, runs
        return runs[0]

    async def finished(self, run_id: int, *, within: float = 30, sealed: bool = False) -> dict[str, Any]:
        """Wait until the run has its verdict (with `sealed`, also its whole log), and return it."""

        async def check() -> dict[str, Any] | None:
            run: dict[str, Any] = (await self.admin.get(f"/runs/{run_id}")).expect(200).json
            return run if run["status"] in TERMINAL and (run["log_complete"] or not sealed) else None

        return await until(check, within=within, what=f"the verdict of run {run_id}")

    async def only_run(
        self, pipeline: dict[str, Any], *, within: float = 30, sealed: bool = True
    ) -> dict[str, Any]:
        return await self.finished(
            (await self.run_of(pipeline, within=within))["id"], within=within, sealed=sealed
        )

    async def log(self, run_id: int, job: str) -> bytes:
        """Return the stored bytes of the last attempt's container `job`, without step markers."""
        return (await self.admin.get(f"/runs/{run_id}/logs?job={job}&container=job")).expect(200).raw


def one_job(repository: FakeRepository, script: str) -> str:
    """Return a pipeline with one job without checkout. This script is its only step."""
    return TRIVIAL.format(
        repository=repository.full_name, script="\n".join(f"          {line}" for line in script.splitlines())
    )
