"""The clusters that the contract suite tests.

These are the local cluster, with bubblewrap if it works and without, and a real Kubernetes. `ground` and
`cluster` cover all of them; `sandbox` and `local_cluster` cover only the local one.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.executor.backend import Backend
from services.executor.local.backend import LocalBackend
from services.executor.local.sandbox import Choice, Sandbox, SandboxUnusable, User, choose, private_folders
from shared.kubernetes.client import KubernetesApi
from tests.contracts.clusters import AS_ROOT, INSTALLATION, LIMITS, Origin
from tests.contracts.grounds import LOCAL, Ground, KubernetesGround, LocalGround
from tests.harness.kubernetes import host_for_pods, namespace
from tests.harness.witness import serving
from tests.harness.workers import clone_uid, job_uid


@pytest.fixture
def folder() -> Iterator[Path]:
    """Yield a folder that other users can reach, like that of an installation."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def local_sandbox(wanted: Choice, folder: Path) -> Sandbox:
    local, mount = folder / "local", folder / "mount"
    local.mkdir(mode=0o711)
    mount.mkdir()
    mount.chmod(0o777)
    hidden, masked = private_folders(None, local)
    job_user = User(job_uid(), job_uid()) if AS_ROOT else None
    clone_user = User(clone_uid(), clone_uid()) if AS_ROOT else None
    try:
        plain = Sandbox(
            job_user, clone_user, mounts=(mount,), hidden=hidden, masked=masked, tmp_bytes=32 << 20
        )
        return await choose(wanted, plain, local)
    except SandboxUnusable as error:
        pytest.skip(str(error))


@pytest.fixture(params=LOCAL)
async def sandbox(request: pytest.FixtureRequest, folder: Path) -> Sandbox:
    return await local_sandbox(request.param, folder)


@pytest.fixture
async def local_cluster(sandbox: Sandbox, folder: Path) -> AsyncIterator[LocalBackend]:
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, LIMITS) as cluster:
        yield cluster
        for left in await cluster.everything():
            await cluster.remove(left.name, left.object_uid)


@pytest.fixture(
    params=[*LOCAL, pytest.param("kubernetes", marks=[pytest.mark.kubernetes, pytest.mark.timeout(240)])]
)
def wanted_ground(request: pytest.FixtureRequest) -> Choice | KubernetesApi:
    """Return the name of a local sandbox, or a client of a real Kubernetes."""
    found: Choice | KubernetesApi = (
        request.getfixturevalue("kubernetes") if request.param == "kubernetes" else request.param
    )
    return found


@pytest.fixture
async def ground(wanted_ground: Choice | KubernetesApi, folder: Path) -> AsyncIterator[Ground]:
    if isinstance(wanted_ground, str):
        yield LocalGround(folder, await local_sandbox(wanted_ground, folder))
        return
    async with namespace(wanted_ground) as name, serving(await host_for_pods(wanted_ground)) as witness:
        yield KubernetesGround(wanted_ground, name, witness)


@pytest.fixture
async def cluster(ground: Ground) -> AsyncIterator[Backend]:
    async with ground.executor() as ours:
        yield ours
        for left in await ours.everything():
            await ours.remove(left.name, left.object_uid)


@pytest.fixture
def origin(folder: Path) -> Origin:
    return Origin(folder / "origin")
