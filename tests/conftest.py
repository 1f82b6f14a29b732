"""Servers for tests: one PostgreSQL and one RabbitMQ for the run, a database and virtual host for each test.

A server starts when the first test needs it. Nothing is left afterwards, also after Ctrl-C or SIGTERM. Tests
may run in several processes at once: `tests/harness/workers.py` describes what these share.
"""

import secrets
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import hypothesis
import pytest

from devstack.databases import copy_database, create_database, drop_database, with_database
from devstack.servers import Rabbit, Servers
from devstack.settings import ServerSources
from shared.database.migrate import migrate
from shared.kubernetes.client import KubernetesApi, open_kubernetes
from tests.harness import grouping, workers
from tests.harness.kubernetes import kubeconfig, namespace, why_not
from tests.harness.servers import containers_are_chosen

hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.load_profile(
    "repeatable"
)  # the same examples each time; `--hypothesis-profile=default` searches for new ones


@dataclass(frozen=True)
class Template:
    """A migrated database without connections, and the URL of its server."""

    server_url: str
    name: str


def pytest_configure(config: pytest.Config) -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a shell that starts pytest in the background ignores it, and children would inherit that
    workers.configure(config)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    workers.tell(node.config, node.workerinput)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    grouping.arrange(items)


def pytest_unconfigure(config: pytest.Config) -> None:
    workers.unconfigure(config)


@pytest.fixture(scope="session")
def server_sources() -> ServerSources:
    return ServerSources()


@pytest.fixture(scope="session")
def servers(pytestconfig: pytest.Config) -> workers.SharedServers:
    """Return the servers of the run. Each fixture starts the server that it needs."""
    return workers.SharedServers(pytestconfig)


@pytest.fixture(scope="session")
def server_url(server_sources: ServerSources, request: pytest.FixtureRequest) -> str:
    """Return the URL of a PostgreSQL server that allows CREATE DATABASE.

    Its path names an existing database.
    """
    if server_sources.database_url:
        return server_sources.database_url.get_secret_value()
    shared: workers.SharedServers = request.getfixturevalue("servers")
    return shared.started("postgres").postgres.url("postgres")


@pytest.fixture(scope="session")
async def template(server_url: str) -> AsyncIterator[Template]:
    name = f"template_{secrets.token_hex(5)}"
    await create_database(server_url, name)
    await migrate(with_database(server_url, name))
    yield Template(server_url, name)
    await drop_database(server_url, name)


@pytest.fixture
async def database_url(template: Template) -> AsyncIterator[str]:
    """Yield the URL of a migrated, empty database for this test alone."""
    async with fresh_database(template) as url:
        yield url


@pytest.fixture(scope="session")
async def session_database_url(template: Template) -> AsyncIterator[str]:
    """Yield the URL of a database that the tests of a session share."""
    async with fresh_database(template) as url:
        yield url


@pytest.fixture(scope="session")
def rabbit(server_sources: ServerSources, request: pytest.FixtureRequest) -> Rabbit | None:
    """Return the run's RabbitMQ, or None if TOWPATH_TEST_AMQP_URL names another broker.

    All tests then share the virtual host of that URL.
    """
    if server_sources.amqp_url:
        return None
    shared: workers.SharedServers = request.getfixturevalue("servers")
    return shared.started("rabbit").rabbit


@pytest.fixture
def amqp_url(server_sources: ServerSources, rabbit: Rabbit | None) -> Iterator[str]:
    """Yield the URL of a virtual host for this test alone."""
    with fresh_vhost(server_sources, rabbit) as url:
        yield url


@pytest.fixture(scope="session")
def session_amqp_url(server_sources: ServerSources, rabbit: Rabbit | None) -> Iterator[str]:
    """Yield the URL of a virtual host that the tests of a session share."""
    with fresh_vhost(server_sources, rabbit) as url:
        yield url


@pytest.fixture(scope="session")
def _second_servers() -> Iterator[Servers]:
    with workers.private_servers() as second:
        yield second


@pytest.fixture
def breakable_servers(_second_servers: Servers) -> Iterator[Servers]:
    """Yield servers that a test may stop, kill and pause.

    They run when the test begins, and nothing else uses them.
    """
    _second_servers.start()
    yield _second_servers
    _second_servers.postgres.resume()
    _second_servers.rabbit.resume()


@pytest.fixture
async def breakable_database_url(breakable_servers: Servers) -> str:
    """Create a migrated database on `breakable_servers`. It is deleted together with them."""
    server_url, name = breakable_servers.postgres.url("postgres"), f"test_{secrets.token_hex(5)}"
    await create_database(server_url, name)
    url = with_database(server_url, name)
    await migrate(url)
    return url


@pytest.fixture
def breakable_amqp_url(breakable_servers: Servers) -> str:
    """Create a virtual host on `breakable_servers`. It is deleted together with them."""
    name = f"test_{secrets.token_hex(5)}"
    breakable_servers.rabbit.add_vhost(name)
    return breakable_servers.rabbit.url(name)


@pytest.fixture(scope="session")
async def kubernetes() -> AsyncIterator[KubernetesApi]:
    """Yield a client of a real Kubernetes. If none answers, skip the test with the reason."""
    if reason := await why_not():
        pytest.skip(reason)
    path = kubeconfig()
    assert path is not None
    async with open_kubernetes(path) as api:
        yield api


@pytest.fixture
async def build_namespace(kubernetes: KubernetesApi) -> AsyncIterator[str]:
    """Yield a namespace for this test alone, under the Pod Security level `restricted`."""
    async with namespace(kubernetes) as name:
        yield name


@asynccontextmanager
async def fresh_database(template: Template) -> AsyncIterator[str]:
    name = f"test_{secrets.token_hex(5)}"
    await copy_database(template.server_url, template.name, name)
    yield with_database(template.server_url, name)
    await drop_database(template.server_url, name)


@contextmanager
def fresh_vhost(sources: ServerSources, rabbit: Rabbit | None) -> Iterator[str]:
    if rabbit is None:
        assert sources.amqp_url is not None
        yield sources.amqp_url.get_secret_value()
        return
    name = f"test_{secrets.token_hex(5)}"
    rabbit.add_vhost(name)
    yield rabbit.url(name)
    if not containers_are_chosen():  # there a deletion takes seconds, and the broker ends with the run
        rabbit.delete_vhost(name)
