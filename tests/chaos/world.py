"""An installation to be broken: durable servers of its own, two replicas of every service, and a proxy on every way between them."""

import asyncio
import contextlib
import random
import shutil
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
from tests.chaos.proxy import Mode, Proxy, open_proxy, through

REPLICAS = (1, 2)
GITHUB_SECRET = "It's a Secret to Everybody"
DATABASE = "towpath"

Replica = tuple[str, int]
"""A service and the number of one of its processes."""


@dataclass
class World:
    """Everything that can be broken, and the means to do it. Methods that wait for processes run in threads."""

    stack: Stack
    postgres: PostgresNode
    rabbit: RabbitNode
    chance: random.Random
    database_proxies: dict[Replica, Proxy] = field(default_factory=dict)
    broker_proxies: dict[Replica, Proxy] = field(default_factory=dict)
    _held: set[Replica] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    """What is wrong in itself, whatever comes out in the end: a service that did not stop in order."""

    @property
    def mounts(self) -> Path:
        return self.stack.directory / "mounts"

    def addresses(self) -> list[str]:
        """Of the gateways."""
        return [self.stack.address("gateway", replica) for replica in REPLICAS]

    def some_replica(self, service: str | None = None) -> Replica:
        return service or self.chance.choice(SERVICES), self.chance.choice(REPLICAS)

    @contextmanager
    def held(self, service: str) -> Iterator[Replica]:
        """A replica that nobody else does something to at the moment. One that has ended by itself, whatever was done to others, is a violation."""
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
            self.violations.append(f"{replica[0]} {replica[1]} had ended by itself: {tail(self.stack.log(*replica), 5)}")

    async def start(self, replica: Replica, **extra: str) -> None:
        """Returns when it is up: it may still wait for a server that is away."""
        environment = {
            "TOWPATH_DATABASE_URL": through(self.stack.database_url, self.database_proxies[replica]),
            "TOWPATH_AMQP_URL": through(self.stack.amqp_url, self.broker_proxies[replica]),
            **extra,
        }
        await asyncio.to_thread(self.stack.start, *replica, environment)

    async def ready(self, replica: Replica, seconds: float = 60) -> None:
        await asyncio.to_thread(self.stack.wait_ready, *replica, seconds)

    async def kill(self, replica: Replica) -> None:
        await asyncio.to_thread(self.stack.kill, *replica)

    async def mend(self) -> None:
        """Whatever was broken and not mended: servers, networks, services."""
        for server in (self.postgres, self.rabbit):
            await asyncio.to_thread(server.resume)
            await asyncio.to_thread(server.start)
        for proxy in (*self.database_proxies.values(), *self.broker_proxies.values()):
            proxy.become(Mode.PASS)
        async with self.database() as connection:
            await connection.execute("DELETE FROM broken_statements")
        for replica in self.database_proxies:
            self.stack.resume(*replica)
            await self.start(replica)
        for replica in self.database_proxies:
            await self.ready(replica)

    async def versions(self) -> dict[str, str]:
        """Of the servers."""
        async with self.database() as connection:
            postgres = str(await connection.fetchval("SHOW server_version"))
        async with await aio_pika.connect(self.stack.amqp_url, timeout=10) as broker:
            said = getattr(broker.transport, "connection", None)
            rabbit = getattr(said, "server_properties", {}).get("version", "")
        return {"postgresql": postgres, "rabbitmq": str(rabbit)}

    @asynccontextmanager
    async def database(self) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
        """A connection of our own, past every proxy."""
        connection = await asyncpg.connect(self.stack.database_url, timeout=10, command_timeout=60)
        try:
            yield connection
        finally:
            with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                await connection.close(timeout=2)


@asynccontextmanager
async def open_world(chance: random.Random) -> AsyncIterator[World]:
    """Started, with the first administrator's token in `stack.directory / token`; all of it is gone after the block."""
    directory = scratch_directory()
    postgres, rabbit = PostgresNode(directory / "postgres"), RabbitNode(directory / "rabbitmq")
    try:
        async with _servers(postgres, rabbit), AsyncExitStack() as open_ones:
            await create_database(postgres.url("postgres"), DATABASE)
            world = World(_stack(directory / "stack", postgres, rabbit), postgres, rabbit, chance)
            for replica in _replicas():
                world.database_proxies[replica] = await open_ones.enter_async_context(open_proxy(world.stack.database_url))
                world.broker_proxies[replica] = await open_ones.enter_async_context(open_proxy(world.stack.amqp_url))
            try:
                await _start(world)
                yield world
            finally:
                await asyncio.to_thread(world.stack.stop_all)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def _servers(postgres: PostgresNode, rabbit: RabbitNode) -> AsyncIterator[None]:
    try:
        await asyncio.gather(asyncio.to_thread(postgres.start), asyncio.to_thread(rabbit.start))
        yield
    finally:
        await asyncio.gather(asyncio.to_thread(postgres.stop), asyncio.to_thread(rabbit.stop))


def _replicas() -> Iterator[Replica]:
    return ((service, number) for service in SERVICES for number in REPLICAS)


def _stack(directory: Path, postgres: PostgresNode, rabbit: RabbitNode) -> Stack:
    mounts = directory / "mounts"
    mounts.mkdir(parents=True)
    directory.chmod(0o711)
    mounts.chmod(0o777)
    settings = {"TOWPATH_GITHUB_WEBHOOK_SECRET": GITHUB_SECRET, "TOWPATH_LOCAL_MOUNTS": str(mounts), "TOWPATH_GRACE_SECONDS": "2"}
    return Stack(directory, postgres.url(DATABASE), rabbit.url(), settings)


async def _start(world: World) -> None:
    await asyncio.to_thread(world.stack.run_module, "shared.migrate")
    printed = await asyncio.to_thread(world.stack.run_module, "services.gateway.bootstrap")
    token = next(line.removeprefix("TOWPATH_TOKEN=") for line in printed.splitlines() if line.startswith("TOWPATH_TOKEN="))
    (world.stack.directory / "token").write_text(token.strip())
    for replica in _replicas():
        await world.start(replica)
    for replica in _replicas():
        await world.ready(replica)
