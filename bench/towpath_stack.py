"""A new Towpath as `make up` starts it: durable servers, one process of each service, the local cluster.

Its files are below the benchmark's directory. The benchmarks use its API and read its tables only to measure
time.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from bench.sending import BenchError
from bench.store import Watch, watching
from devstack import processes
from devstack.databases import create_database
from devstack.processes import PidFile, Process
from devstack.servers import Servers, servers_for_use
from devstack.settings import DevstackSettings
from devstack.stack import SERVICES, Stack

DATABASE = "towpath"


@dataclass(frozen=True)
class Running:
    """A running Towpath, with an administrator's session at its API."""

    stack: Stack
    secret: str
    session: aiohttp.ClientSession
    watch: Watch

    @property
    def hook(self) -> str:
        return self.stack.address() + "/webhooks/github"

    async def create(self, path: str, **body: object) -> int:
        """Send a POST to the API and return the new object's id."""
        async with self.session.post(self.stack.address() + path, json=body) as response:
            if response.status != 201:
                raise BenchError(
                    f"POST {path} was answered {response.status}: {(await response.text())[:500]}"
                )
            return int((await response.json())["id"])

    def services(self) -> dict[str, Process | None]:
        return {service: self.stack.process(service) for service in SERVICES}

    def servers(self) -> dict[str, Process | None]:
        """Return PostgreSQL and RabbitMQ. None for a server that runs in a container."""
        place = self.stack.directory
        pid_files = {
            "postgres": place / "postgres" / "postgres.pid",
            "rabbitmq": place / "rabbitmq" / "beam.pid",
        }
        return {name: PidFile(path).read() for name, path in pid_files.items()}

    async def register(self, name: str, forge_id: int, command: str | None = None) -> int:
        """Create the repository `bench/<name>`, and a pipeline with one step if there is a command.

        Return the pipeline's id, or 0 without a pipeline.
        """
        repository = f"bench/{name}"
        await self.create(
            "/repositories",
            full_name=repository,
            forge="github",
            forge_id=forge_id,
            clone_url=f"https://github.com/{repository}.git",
        )
        return (
            await self.create("/pipelines", name=name, yaml_config=pipeline(repository, command))
            if command
            else 0
        )


def pipeline(repository: str, command: str) -> str:
    """Return a pipeline with one job of one step, without a checkout."""
    lines = [
        "version: 1",
        f"repository: {repository}",
        "on:",
        "  push:",
        "    branches: [main]",
        "jobs:",
        "  job:",
        "    image: debian",
    ]
    return "\n".join(
        [*lines, "    checkout: false", "    steps:", "      - run: |", f"          {command}", ""]
    )


@asynccontextmanager
async def running_towpath(
    directory: Path, say: Callable[[str], None], extra_env: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:
    """Run an empty Towpath for the duration of the block. Its services get `extra_env`.

    No process is left afterwards. Its data stays for inspection.
    """
    place = directory / "towpath"
    processes.stop(processes.of_stack(place), grace_seconds=10)  # left by a killed benchmark
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    servers = servers_for_use(
        place, DevstackSettings(port=None, postgres_port=None, rabbitmq_port=None, replicas=1)
    )
    try:
        say("starting Towpath")
        await asyncio.to_thread(servers.start)
        secret = secrets.token_hex(24)
        extra = {
            "TOWPATH_GITHUB_WEBHOOK_SECRET": secret,
            "TOWPATH_CLUSTER": "local",
            **(extra_env or {}),
        }
        stack = Stack(place, servers.postgres.url(DATABASE), servers.rabbit.url(), extra)
        token = await _prepare(stack, servers)
        await asyncio.to_thread(_start_services, stack)
        headers = {"Authorization": f"Bearer {token}"}
        timeout = aiohttp.ClientTimeout(total=60)
        async with (
            aiohttp.ClientSession(headers=headers, timeout=timeout) as session,
            watching(stack.database_url) as watch,
        ):
            yield Running(stack, secret, session, watch)
    finally:
        await asyncio.to_thread(_stop, place, servers)


async def _prepare(stack: Stack, servers: Servers) -> str:
    """Create a migrated database and an administrator, and return the administrator's token."""
    await create_database(servers.postgres.url("postgres"), DATABASE)
    await asyncio.to_thread(stack.run_module, "shared.database.migrate")
    printed = await asyncio.to_thread(stack.run_module, "services.gateway.bootstrap")
    for line in printed.splitlines():
        name, _, value = line.partition("=")
        if name == "TOWPATH_TOKEN":
            return value
    raise BenchError("the bootstrap printed no token")


def _start_services(stack: Stack) -> None:
    for service in SERVICES:
        stack.start(service)
    for service in SERVICES:
        stack.wait_ready(service)


def _stop(place: Path, servers: Servers) -> None:
    Stack(place, "", "").stop_all()
    servers.stop()
    processes.stop(processes.of_stack(place), grace_seconds=5)
