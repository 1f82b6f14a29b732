"""Fixtures: a fake API server with one pod, and a reader of its container `job`."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from services.logsink.clusters import Bounds, KubernetesCluster
from services.logsink.sources import kubernetes
from shared.kubernetes.client import open_kubernetes
from tests.fakes.kubernetes_logs import FakeContainer, FakeKubernetes, FakeKubernetesPod
from tests.unit.services.logsink.sources.reading import Reader


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "REFUSED_SECONDS", (0.02, 0.02, 0.02))


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeKubernetes]:
    made = FakeKubernetes()
    async with made.serving(tmp_path):
        yield made


@pytest.fixture
async def cluster(fake: FakeKubernetes, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    async with open_kubernetes(tmp_path / "kubeconfig") as api:
        made = KubernetesCluster(api, Bounds(most_follows=1, watch_seconds=60))
        yield made
        await made.close()


@pytest.fixture
async def pod(fake: FakeKubernetes) -> FakeKubernetesPod:
    return await fake.make("pod-1", containers=("clone", "job"))


@pytest.fixture
async def job(pod: FakeKubernetesPod) -> FakeContainer:
    await pod.containers["job"].start()
    return pod.containers["job"]


@pytest.fixture
async def readers(cluster: KubernetesCluster) -> AsyncIterator[Callable[..., Reader]]:
    """Yield a factory of readers, with the arguments of `Reader` after the cluster.

    They are closed after the test.
    """
    made: list[Reader] = []

    def make(*arguments: Any, **options: Any) -> Reader:
        made.append(Reader(cluster, *arguments, **options))
        return made[-1]

    yield make
    for reader in made:
        await reader.source.close()


@pytest.fixture
async def reader(readers: Callable[..., Reader]) -> Reader:
    return readers()
