"""The clusters that keep the contract: the local one, with bubblewrap where it works, and without."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from services.executor.local.cluster import LocalCluster
from services.executor.local.sandbox import Sandbox, SandboxUnusable, User, choose, private_folders
from tests.contracts.clusters import AS_ROOT, INSTALLATION, LIMITS, Origin


@pytest.fixture
def folder() -> Iterator[Path]:
    """Reachable for other users, as an installation's is."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(params=["bubblewrap", "none"])
async def sandbox(request: pytest.FixtureRequest, folder: Path) -> Sandbox:
    local, mount = folder / "local", folder / "mount"
    local.mkdir(mode=0o711)
    mount.mkdir()
    mount.chmod(0o777)
    hidden, masked = private_folders(None, local)
    users = (User(65530, 65530), User(65531, 65531)) if AS_ROOT else (None, None)
    try:
        return await choose(request.param, Sandbox(*users, mounts=(mount,), hidden=hidden, masked=masked), local)
    except SandboxUnusable as error:
        pytest.skip(str(error))


@pytest.fixture
async def cluster(sandbox: Sandbox, folder: Path) -> AsyncIterator[LocalCluster]:
    async with LocalCluster(folder / "local", INSTALLATION, sandbox, LIMITS) as cluster:
        yield cluster
        for left in await cluster.everything():
            await cluster.remove(left.name, left.object_uid)


@pytest.fixture
def origin(folder: Path) -> Origin:
    return Origin(folder / "origin")
