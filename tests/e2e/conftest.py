"""Installations for end-to-end tests: one that all share, and one of its own for a test that breaks things."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from devstack.places import scratch_directory
from devstack.servers import Rabbit
from devstack.settings import ServerSources
from devstack.stack import Stack
from tests.conftest import Template, fresh_database, fresh_vhost
from tests.harness.installation import GITEA_SECRET, GITHUB_SECRET, Towpath


@asynccontextmanager
async def installation(database_url: str, amqp_url: str, **extra_env: str) -> AsyncIterator[Towpath]:
    """A started installation on these addresses; all of it is gone after the block."""
    directory = scratch_directory()
    mounts = directory / "mounts"
    mounts.mkdir()
    mounts.chmod(0o777)
    environment = {
        "TOWPATH_GITHUB_WEBHOOK_SECRET": GITHUB_SECRET,
        "TOWPATH_GITEA_WEBHOOK_SECRET": GITEA_SECRET,
        "TOWPATH_ALLOW_LOCAL_CLONE_URLS": "true",
        "TOWPATH_LOCAL_MOUNTS": str(mounts),
        "TOWPATH_GRACE_SECONDS": "2",
        "TOWPATH_RECONCILE_SECONDS": "2",
        **extra_env,
    }
    stack = Stack(directory, database_url, amqp_url, environment)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        towpath = Towpath(stack, session, mounts)
        try:
            await towpath.start()
            yield towpath
        finally:
            stack.stop_all()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
async def towpath(session_database_url: str, session_amqp_url: str) -> AsyncIterator[Towpath]:
    """The installation that tests share: nothing in it is broken on purpose, and nobody relies on being alone."""
    async with installation(session_database_url, session_amqp_url) as shared:
        yield shared


NARROW_SECRETS = ("a newer secret", GITHUB_SECRET)


@pytest.fixture(scope="session")
async def narrow_towpath(template: Template, server_sources: ServerSources, rabbit: Rabbit | None) -> AsyncIterator[Towpath]:
    """A second shared installation: one slot for all jobs, a second for a body to arrive, two secrets for GitHub and none for Gitea."""
    secrets = {"TOWPATH_GITHUB_WEBHOOK_SECRET": ",".join(NARROW_SECRETS), "TOWPATH_GITEA_WEBHOOK_SECRET": ""}
    settings = {"TOWPATH_GLOBAL_LIMIT": "1", "TOWPATH_BODY_SECONDS": "1", **secrets}
    with fresh_vhost(server_sources, rabbit) as amqp_url:
        async with fresh_database(template) as database_url, installation(database_url, amqp_url, **settings) as narrow:
            yield narrow


@pytest.fixture
async def own_towpath(database_url: str, amqp_url: str) -> AsyncIterator[Towpath]:
    """An installation of the test's own, to kill parts of."""
    async with installation(database_url, amqp_url) as own:
        yield own


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that unprivileged accounts can reach, for repositories that jobs clone."""
    del tmp_path_factory
    directory = scratch_directory()
    directory.chmod(0o755)
    return directory
