"""Gateways in the test's own process: one for each test, and one that several tests can share."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from devstack.servers import Rabbit
from devstack.settings import ServerSources
from tests.conftest import Template, fresh_database, fresh_vhost
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving, make_settings, serving


@pytest.fixture
async def served(database_url: str, amqp_url: str, tmp_path: Path) -> AsyncIterator[Serving]:
    async with serving(make_settings(database_url, amqp_url, tmp_path), None) as running:
        yield running


@pytest.fixture(scope="session")
async def shared_gateway(
    template: Template,
    server_sources: ServerSources,
    rabbit: Rabbit | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Serving]:
    """Yield a gateway that a module can use as `served`, if its tests count nothing and break nothing."""
    async with fresh_database(template) as database_url:
        with fresh_vhost(server_sources, rabbit) as amqp_url:
            async with serving(
                make_settings(database_url, amqp_url, tmp_path_factory.mktemp("gateway")), None
            ) as running:
                yield running


@pytest.fixture
async def history(served: Serving) -> AsyncIterator[History]:
    made = await History.of(served.database_url)
    yield made
    await made.connection.close()
