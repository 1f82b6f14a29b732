"""Fixtures: installations for end-to-end tests.

Most tests share one installation. A test that breaks things has one of its own.
"""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from devstack.places import scratch_directory
from devstack.servers import Rabbit
from devstack.settings import ServerSources
from devstack.stack import Stack
from shared.kubernetes.client import KubernetesApi, open_kubernetes
from tests.conftest import Template, fresh_database, fresh_vhost
from tests.harness.access import identity
from tests.harness.backends import Backend, KubernetesBackend, LocalBackend
from tests.harness.counting import Counted, counting
from tests.harness.installation import GITEA_SECRET, GITHUB_SECRET, Towpath
from tests.harness.kubernetes import JOB_IMAGE, TOWPATH_IMAGE, host_for_pods, kubeconfig, namespace
from tests.harness.pod_jobs import Pods
from tests.harness.preloaded import PreloadedPrograms
from tests.harness.witness import serving

_programs = PreloadedPrograms()


@asynccontextmanager
async def installation(database_url: str, amqp_url: str, **extra_env: str) -> AsyncIterator[Towpath]:
    """Start an installation on these addresses, and remove all of it after the block."""
    directory = scratch_directory()
    async with (
        backend(directory) as chosen,
        started(directory, database_url, amqp_url, chosen, extra_env) as towpath,
    ):
        yield towpath
    shutil.rmtree(directory, ignore_errors=True)


@asynccontextmanager
async def backend(directory: Path) -> AsyncIterator[Backend]:
    """Yield the backend that TOWPATH_TEST_BACKEND names. The default is `local`."""
    if os.environ.get("TOWPATH_TEST_BACKEND", "local") == "local":
        mounts = directory / "mounts"
        mounts.mkdir()
        mounts.chmod(0o777)
        yield LocalBackend(mounts)
        return
    path = kubeconfig()
    assert path, "TOWPATH_TEST_BACKEND=kubernetes wants KUBECONFIG"
    async with (
        open_kubernetes(path) as api,
        serving(await host_for_pods(api)) as witness,
        namespace(api) as name,
    ):
        environment = {
            "TOWPATH_BACKEND": "kubernetes",
            "TOWPATH_KUBECONFIG": str(path),
            "TOWPATH_KUBECONFIGS": f"local={path}",
            "TOWPATH_KUBERNETES_NAMESPACE": name,
            "TOWPATH_KUBERNETES_TOWPATH_IMAGE": TOWPATH_IMAGE,
            "TOWPATH_KUBERNETES_DEFAULT_IMAGE": JOB_IMAGE,
            "TOWPATH_KUBERNETES_CPU": "200m",  # many jobs share a small machine
            "TOWPATH_KUBERNETES_MEMORY": "128Mi",
        }
        yield KubernetesBackend(witness, name, environment)


@asynccontextmanager
async def started(
    directory: Path, database_url: str, amqp_url: str, chosen: Backend, extra_env: Mapping[str, str]
) -> AsyncIterator[Towpath]:
    environment = {
        "TOWPATH_GITHUB_WEBHOOK_SECRET": GITHUB_SECRET,
        "TOWPATH_GITEA_WEBHOOK_SECRET": GITEA_SECRET,
        "TOWPATH_ALLOW_LOCAL_CLONE_URLS": "true",
        **chosen.environment,
        "TOWPATH_GRACE_SECONDS": "2",
        "TOWPATH_RECONCILE_SECONDS": "2",
        **extra_env,
    }
    stack = Stack(directory, database_url, amqp_url, environment, programs=_programs)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as session:
        towpath = Towpath(stack, session, chosen)
        try:
            await towpath.start()
            yield towpath
        finally:
            await asyncio.to_thread(stack.stop_all)


@pytest.fixture(scope="session")
async def towpath(session_database_url: str, session_amqp_url: str) -> AsyncIterator[Towpath]:
    """Yield the installation that tests share.

    No test breaks it on purpose, and no test relies on being its only user.
    """
    async with installation(session_database_url, session_amqp_url) as shared:
        yield shared


NARROW_SECRETS = ("a newer secret", GITHUB_SECRET)


@pytest.fixture(scope="session")
async def narrow_towpath(
    template: Template, server_sources: ServerSources, rabbit: Rabbit | None
) -> AsyncIterator[Towpath]:
    """Yield a second shared installation, with narrow limits.

    It has one slot for all jobs, waits one second for a body, and has two secrets for GitHub and none for
    Gitea. It waits long for Postgres, so that no delivery takes the fallback queue on a busy machine.
    """
    secrets = {"TOWPATH_GITHUB_WEBHOOK_SECRET": ",".join(NARROW_SECRETS), "TOWPATH_GITEA_WEBHOOK_SECRET": ""}
    waits = {"TOWPATH_BODY_SECONDS": "1", "TOWPATH_DATABASE_WAIT_SECONDS": "20"}
    settings = {"TOWPATH_GLOBAL_LIMIT": "1", **waits, **secrets}
    with fresh_vhost(server_sources, rabbit) as amqp_url:
        async with (
            fresh_database(template) as database_url,
            installation(database_url, amqp_url, **settings) as narrow,
        ):
            yield narrow


@pytest.fixture(scope="module")
async def pods(
    request: pytest.FixtureRequest,
    template: Template,
    server_sources: ServerSources,
    rabbit: Rabbit | None,
    kubernetes: KubernetesApi,
) -> AsyncIterator[Pods]:
    """Yield an installation for the tests of a module. Its jobs are pods.

    Its settings are the module's `LIMITS`.
    """
    with fresh_vhost(server_sources, rabbit) as amqp_url:
        async with (
            fresh_database(template) as database_url,
            installation(database_url, amqp_url, **request.module.LIMITS) as towpath,
        ):
            assert isinstance(towpath.backend, KubernetesBackend)
            yield Pods(towpath, kubernetes, towpath.backend.namespace)


@pytest.fixture
async def own_towpath(database_url: str, amqp_url: str) -> AsyncIterator[Towpath]:
    """Yield an installation for one test, which may kill parts of it."""
    async with installation(database_url, amqp_url) as own:
        yield own


@pytest.fixture
async def counted(own_towpath: Towpath, kubernetes: KubernetesApi, tmp_path: Path) -> AsyncIterator[Counted]:
    """Yield an installation for one test, and count its executor's requests to the API server."""
    assert isinstance(own_towpath.backend, KubernetesBackend)
    namespace, admin, own = own_towpath.backend.namespace, kubeconfig(), tmp_path / "kubeconfig"
    assert admin is not None
    own.write_text(await identity(kubernetes, namespace, "executor", admin.read_text()))
    async with counting(kubernetes, namespace):
        installed = Counted(own_towpath, kubernetes, namespace, own)
        await asyncio.to_thread(own_towpath.stack.stop, "executor")
        await installed.start_executor()
        yield installed


@pytest.fixture
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that unprivileged accounts can read, for repositories that jobs clone."""
    del tmp_path_factory
    directory = scratch_directory()
    directory.chmod(0o755)
    return directory
