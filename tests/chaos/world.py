"""An installation for faults, with its own durable servers and two replicas of every service.

There is a proxy between each replica and each server.
"""

import asyncio
import contextlib
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aio_pika
import asyncpg

from devstack.databases import create_database
from devstack.errors import DevstackError
from devstack.places import scratch_directory
from devstack.postgres import PostgresNode
from devstack.processes import tail
from devstack.rabbitmq import RabbitNode
from devstack.stack import SERVICES, Stack
from tests.chaos.cluster import Cluster, Replica, open_cluster
from tests.chaos.disk import Disk, open_disk
from tests.chaos.proxy import Mode, Proxy, open_proxy, through
from tests.e2e.conftest import backend
from tests.harness.backends import Backend, KubernetesBackend

REPLICAS = (1, 2)
GITHUB_SECRET = "It's a Secret to Everybody"
DATABASE = "towpath"

_DATABASE_TRIES = 300


@dataclass
class World:
    """The parts that can be broken, and the methods to break and restore them.

    Methods that wait for processes run in threads.
    """

    stack: Stack
    postgres: PostgresNode
    rabbit: RabbitNode
    chance: random.Random
    backend: Backend
    """The backend that jobs run on."""
    disk: Disk | None
    """The disk that only Postgres uses, or None if this machine allows none."""
    cluster: Cluster | None
    """The Kubernetes cluster, or None if jobs are not pods."""
    database_proxies: dict[Replica, Proxy] = field(default_factory=dict)
    broker_proxies: dict[Replica, Proxy] = field(default_factory=dict)
    _held: set[Replica] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    """Violations that count even if all runs end well, such as a service that did not stop cleanly."""
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)

    def some_replica(self, service: str | None = None) -> Replica:
        return service or self.chance.choice(SERVICES), self.chance.choice(REPLICAS)

    @contextmanager
    def held(self, service: str) -> Iterator[Replica]:
        """Reserve a replica that no other fault uses at the moment.

        If it has already ended by itself, that is recorded as a violation.
        """
        free = [(service, number) for number in REPLICAS if (service, number) not in self._held]
        if not free:
            raise DevstackError(f"all of {service} is broken already")
        replica = self.chance.choice(free)
        self.expect_running(replica)
        self._held.add(replica)
        try:
            yield replica
        finally:
            self._held.discard(replica)

    def expect_running(self, replica: Replica) -> None:
        if self.stack.process(*replica) is None:
            self.violations.append(
                f"{replica[0]} {replica[1]} had ended by itself: {tail(self.stack.log(*replica), 5)}"
            )

    async def start(self, replica: Replica, **extra: str) -> None:
        """Start a replica. It may not be ready on return, for example if a server is away."""
        environment = {
            "TOWPATH_DATABASE_URL": through(self.stack.database_url, self.database_proxies[replica]),
            "TOWPATH_AMQP_URL": through(self.stack.amqp_url, self.broker_proxies[replica]),
            **(self.cluster.environment(replica) if self.cluster else {}),
            **extra,
        }
        await asyncio.to_thread(self.stack.start, *replica, environment)

    async def ready(self, replica: Replica, seconds: float = 60) -> None:
        await asyncio.to_thread(self.stack.wait_ready, *replica, seconds)

    async def kill(self, replica: Replica) -> None:
        await asyncio.to_thread(self.stack.kill, *replica)

    async def up(self, server: PostgresNode | RabbitNode) -> None:
        """Start the server if it is not running. Two faults that end at once never start it twice."""
        async with self._starting:
            await asyncio.to_thread(server.start)

    async def serves(self) -> None:
        """Wait until Postgres answers. Start it again if it has ended by itself.

        Raises DevstackError if it does not answer within a minute.
        """
        for _ in range(_DATABASE_TRIES):
            await self.up(self.postgres)
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                async with self.database() as connection:
                    await connection.execute("SELECT")
                    return
            await asyncio.sleep(0.2)
        raise DevstackError("Postgres does not answer")

    async def repair(self) -> None:
        """Restore everything that is still broken: the disk, servers, networks and services."""
        if self.disk is not None:
            self.disk.empty()
        for server in (self.postgres, self.rabbit):
            await asyncio.to_thread(server.resume)
            await self.up(server)
        await asyncio.to_thread(self.rabbit.control, "set_vm_memory_high_watermark", "0.4")
        for proxy in (
            *self.database_proxies.values(),
            *self.broker_proxies.values(),
            *(self.cluster.proxies.values() if self.cluster else ()),
        ):
            proxy.become(Mode.PASS)
        async with self.database() as connection:
            await connection.execute("DELETE FROM broken_statements")
        for replica in self.database_proxies:
            self.stack.resume(*replica)
            await self.start(replica)
        for replica in self.database_proxies:
            await self.ready(replica)

    async def versions(self) -> dict[str, str]:
        """Return the versions of the servers."""
        async with self.database() as connection:
            postgres = str(await connection.fetchval("SHOW server_version"))
        async with await aio_pika.connect(self.stack.amqp_url, timeout=10) as broker:
            said = getattr(broker.transport, "connection", None)
            rabbit = getattr(said, "server_properties", {}).get("version", "")
        return {"postgresql": postgres, "rabbitmq": str(rabbit)}

    @asynccontextmanager
    async def database(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """Open a connection of the test's own that bypasses every proxy."""
        connection = await asyncpg.connect(self.stack.database_url, timeout=10, command_timeout=60)
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=2)


@asynccontextmanager
async def open_world(chance: random.Random) -> AsyncIterator[World]:
    """Start a world, and remove all of it after the block.

    The first administrator's token is in `stack.directory / token`.
    """
    directory = scratch_directory()
    postgres, rabbit = PostgresNode(directory / "postgres"), RabbitNode(directory / "rabbitmq")
    stack_directory = directory / "stack"
    stack_directory.mkdir(mode=0o711)
    try:
        async with (
            _disk(postgres) as disk,
            _servers(postgres, rabbit),
            backend(stack_directory) as chosen,
            AsyncExitStack() as open_ones,
        ):
            await create_database(postgres.url("postgres"), DATABASE)
            cluster = (
                await open_ones.enter_async_context(open_cluster(chosen, stack_directory, _replicas()))
                if isinstance(chosen, KubernetesBackend)
                else None
            )
            world = World(
                _stack(stack_directory, postgres, rabbit, chosen),
                postgres,
                rabbit,
                chance,
                chosen,
                disk,
                cluster,
            )
            for replica in _replicas():
                world.database_proxies[replica] = await open_ones.enter_async_context(
                    open_proxy(world.stack.database_url)
                )
                world.broker_proxies[replica] = await open_ones.enter_async_context(
                    open_proxy(world.stack.amqp_url)
                )
            try:
                await _start(world)
                yield world
            finally:
                await asyncio.to_thread(world.stack.stop_all)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _disk(postgres: PostgresNode) -> AsyncIterator[Disk | None]:
    async with AsyncExitStack() as mounted:
        disk = None
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            disk = mounted.enter_context(open_disk(postgres.directory))
        yield disk


@asynccontextmanager
async def _servers(postgres: PostgresNode, rabbit: RabbitNode) -> AsyncIterator[None]:
    try:
        await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(rabbit.start))
        yield
    finally:
        await asyncio.gather(asyncio.to_thread(postgres.stop), asyncio.to_thread(rabbit.stop))


def _replicas() -> Iterator[Replica]:
    return ((service, number) for service in SERVICES for number in REPLICAS)


def _stack(directory: Path, postgres: PostgresNode, rabbit: RabbitNode, chosen: Backend) -> Stack:
    settings = {
        "TOWPATH_GITHUB_WEBHOOK_SECRET": GITHUB_SECRET,
        "TOWPATH_GRACE_SECONDS": "2",
        **chosen.environment,
    }
    return Stack(directory, postgres.url(DATABASE), rabbit.url(), settings)


async def _start(world: World) -> None:
    await asyncio.to_thread(world.stack.run_module, "shared.database.migrate")
    printed = await asyncio.to_thread(world.stack.run_module, "services.gateway.bootstrap")
    token = next(
        line.removeprefix("TOWPATH_TOKEN=")
        for line in printed.splitlines()
        if line.startswith("TOWPATH_TOKEN=")
    )
    (world.stack.directory / "token").write_text(token.strip())
    for replica in _replicas():
        await world.start(replica)
    for replica in _replicas():
        await world.ready(replica)
