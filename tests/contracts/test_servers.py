"""Contract tests of the tests' PostgreSQL and RabbitMQ, both as private programs and in containers."""

import asyncio
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import aio_pika
import asyncpg
import pytest
from aio_pika.exceptions import AMQPError

from devstack.databases import create_database, with_database
from devstack.errors import DevstackError
from devstack.places import scratch_directory
from devstack.ports import is_free
from devstack.postgres import PostgresNode
from devstack.rabbitmq import RabbitNode
from devstack.servers import Postgres, Rabbit, Servers
from tests.harness.servers import containers_are_chosen, discard, in_containers

KINDS = ["private", pytest.param("containers", marks=pytest.mark.containers)]


def new_servers(kind: str, directory: Path) -> Servers:
    """Return servers that are not started yet. Skips the test if it needs containers that were not chosen."""
    if kind == "private":
        return Servers(
            PostgresNode(directory / "postgres", durable=False),
            RabbitNode(directory / "rabbitmq", management=True),
        )
    if not containers_are_chosen():
        pytest.skip("TOWPATH_TEST_SERVERS does not choose containers")
    return in_containers(directory)


@contextmanager
def scratch_servers(kind: str) -> Iterator[Servers]:
    directory = scratch_directory()
    try:
        servers = new_servers(kind, directory)
        try:
            yield servers
        finally:
            discard(servers)
    finally:
        shutil.rmtree(directory)


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with scratch_servers(request.param) as servers:
        yield servers


@pytest.fixture
def postgres(pair: Servers) -> Iterator[Postgres]:
    """Yield a PostgreSQL that runs when the test begins."""
    pair.postgres.start()
    yield pair.postgres
    pair.postgres.resume()


@pytest.fixture
async def database(postgres: Postgres) -> str:
    """Create an empty database and return its URL."""
    name = f"test_{secrets.token_hex(5)}"
    await create_database(postgres.url("postgres"), name)
    return with_database(postgres.url("postgres"), name)


@pytest.fixture
def rabbit(pair: Servers) -> Iterator[Rabbit]:
    """Yield a RabbitMQ that runs when the test begins."""
    pair.rabbit.start()
    yield pair.rabbit
    pair.rabbit.resume()


@pytest.fixture
def vhost(rabbit: Rabbit) -> Iterator[str]:
    """Yield a virtual host whose name must be quoted in a URL and in a shell."""
    name = f"it's {secrets.token_hex(5)} / 100%"
    rabbit.add_vhost(name)
    yield name
    rabbit.start()
    rabbit.delete_vhost(name)


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_postgres_keeps_what_was_committed(postgres: Postgres, database: str, end: str) -> None:
    await execute(database, "CREATE TABLE kept (n int)")
    await execute(database, "INSERT INTO kept VALUES (1)")
    await asyncio.to_thread(getattr(postgres, end))
    assert not postgres.running()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(database, timeout=5)
    await asyncio.to_thread(postgres.start)
    assert await execute(database, "SELECT n FROM kept") == [(1,)]


async def test_a_paused_postgres_answers_nothing_until_it_goes_on(postgres: Postgres, database: str) -> None:
    connection = await asyncpg.connect(database, timeout=10)
    await asyncio.to_thread(postgres.pause)
    assert postgres.running()
    with pytest.raises(TimeoutError):
        await asyncpg.connect(database, timeout=0.3)
    await asyncio.to_thread(postgres.resume)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_the_user_of_postgres_is_a_superuser_who_needs_a_password(
    postgres: Postgres, database: str
) -> None:
    assert await execute(database, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(True,)]
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(database, password="another", timeout=10)


async def test_rabbitmq_keeps_what_it_confirmed(rabbit: Rabbit, vhost: str) -> None:
    """The orderly stop comes first.

    A queue that was declared less than seconds before SIGKILL may be lost with its messages.
    """
    for count, end in enumerate((rabbit.stop, rabbit.kill), 1):
        await publish(rabbit.url(vhost), "kept")
        await asyncio.to_thread(end)
        assert not rabbit.running()
        with pytest.raises((AMQPError, ConnectionRefusedError)):
            await aio_pika.connect(rabbit.url(vhost), timeout=5)
        await asyncio.to_thread(rabbit.start)
        assert await depth(rabbit.url(vhost), "kept") == count


async def test_a_paused_rabbitmq_answers_nothing_and_can_be_killed(rabbit: Rabbit) -> None:
    await asyncio.to_thread(rabbit.pause)
    with pytest.raises(TimeoutError):
        await aio_pika.connect(rabbit.url(), timeout=0.5)
    await asyncio.to_thread(rabbit.kill)
    assert not rabbit.running()
    await asyncio.to_thread(rabbit.start)
    await (await aio_pika.connect(rabbit.url(), timeout=10)).close()


async def test_a_virtual_host_is_made_once_and_is_gone_when_deleted(rabbit: Rabbit, vhost: str) -> None:
    await publish(rabbit.url(vhost), "ours")
    rabbit.add_vhost(vhost)
    assert await depth(rabbit.url(vhost), "ours") == 1
    rabbit.delete_vhost(vhost)
    with pytest.raises(AMQPError):
        await aio_pika.connect(rabbit.url(vhost), timeout=10)
    rabbit.delete_vhost(vhost)


async def test_a_server_is_found_again_by_its_directory(
    postgres: Postgres, rabbit: Rabbit, database: str
) -> None:
    """Another process finds the servers in the same way. A start of a running server changes nothing.

    Connections stay open.
    """
    connection = await asyncpg.connect(database, timeout=10)
    # The protocols have no constructor. All classes of servers can be called with a directory alone.
    new_postgres = cast("Callable[[Path], Postgres]", type(postgres))
    new_rabbit = cast("Callable[[Path], Rabbit]", type(rabbit))
    same_postgres, same_rabbit = new_postgres(postgres.directory), new_rabbit(rabbit.directory)
    for same in (same_postgres, same_rabbit):
        assert same.running()
        await asyncio.to_thread(same.start)
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()
    assert (same_postgres.url("x"), same_rabbit.url("x")) == (postgres.url("x"), rabbit.url("x"))
    await asyncio.to_thread(same_postgres.stop)
    assert not postgres.running()


@pytest.fixture(params=KINDS)
def lonely(request: pytest.FixtureRequest) -> Iterator[Servers]:
    """Yield servers for this test alone. They are not started yet."""
    with scratch_servers(request.param) as servers:
        yield servers


async def test_servers_that_are_discarded_leave_nothing(lonely: Servers) -> None:
    await asyncio.to_thread(lonely.postgres.start)
    assert not is_free(lonely.postgres.port)
    await asyncio.to_thread(lonely.postgres.pause)
    for _ in range(2):
        await asyncio.to_thread(discard, lonely)
        assert not lonely.postgres.running()
        assert is_free(lonely.postgres.port)
    assert not lonely.rabbit.running()


def test_containers_without_an_engine_are_refused_with_advice(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nothing.sock")
    with pytest.raises(DevstackError, match=r"(?s)no Docker engine answers.*set DOCKER_HOST"):
        in_containers(tmp_path)


async def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return [tuple(row) for row in await connection.fetch(statement)]
    finally:
        await connection.close()


async def publish(url: str, queue: str) -> None:
    """Publish one message to a durable queue, and wait until the broker has confirmed it."""
    async with await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue(queue, durable=True)
        await channel.default_exchange.publish(
            aio_pika.Message(b"x", delivery_mode=aio_pika.DeliveryMode.PERSISTENT), queue
        )


async def depth(url: str, queue: str) -> int | None:
    async with await aio_pika.connect(url, timeout=10) as connection:
        channel = await connection.channel()
        return (
            await channel.declare_queue(queue, durable=True, passive=True)
        ).declaration_result.message_count
