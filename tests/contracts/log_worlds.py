"""The worlds in which every source of logs is tested: a container that prints, and a source that reads.

One world is the local cluster's. Two imitate a pod in this process and run everywhere. Two use real pods. A
new source adds its world to `worlds`.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

from services.logsink.clusters import Bounds, KubernetesCluster
from services.logsink.locations import PodName
from services.logsink.node_pod import NodePod
from services.logsink.pod_directory import PodDirectory
from services.logsink.pod_watch import OURS
from services.logsink.sources import Cursor, Source
from services.logsink.sources.cri_files import CriFileSource
from services.logsink.sources.kubernetes import ContainerLog, KubernetesSource
from services.logsink.wakeups import Wakeups
from shared.kubernetes.client import ApiError, KubernetesApi, Object, open_kubernetes
from shared.masking import Masker
from tests.fakes.kubernetes_logs import FakeContainer, FakeKubernetes
from tests.fakes.pod_directory import FakePod, cri
from tests.harness.kubernetes import host_for_pods, namespace
from tests.harness.waiting import until

BOUNDS = Bounds(most_follows=10, watch_seconds=60)
POD_LOGS = Path("/var/log/pods")
ROTATED_BYTES = 10 << 20
NOTED = "\ndriver\n1 12 s0\nover"
"""The termination file of a driver whose one step has ended."""


class Container(Protocol):
    """A container that prints on demand.

    Calls return when they are done; the log may follow a moment later.
    """

    async def prints(self, text: bytes) -> None: ...

    async def ends(self, noted: str = NOTED) -> None:
        """End the container. `noted` is its termination file; a real one has always the same."""
        ...

    async def vanishes(self) -> None:
        """Remove the container with all that it printed, without a record of its end."""
        ...


MakeSource = Callable[[Masker], KubernetesSource | CriFileSource]


@dataclass
class World:
    """A container, and the sources that read its log."""

    container: Container
    make: MakeSource
    sources: list[Source]

    def source(self, cursor: Cursor | None = None, secrets: tuple[bytes, ...] = ()) -> Source:
        source = self.make(Masker(secrets))
        source.start_at(cursor)
        self.sources.append(source)
        return source


class InDirectory:
    """A container of the local cluster."""

    def __init__(self, pod: FakePod) -> None:
        self._pod = pod

    async def prints(self, text: bytes) -> None:
        self._pod.write(text)

    async def ends(self, noted: str = NOTED) -> None:
        self._pod.end_all(noted)

    async def vanishes(self) -> None:
        self._pod.remove()


class Imitated:
    """A container of a pod on the fake API server."""

    def __init__(self, api: FakeKubernetes, container: FakeContainer) -> None:
        self._api = api
        self._container = container

    async def prints(self, text: bytes) -> None:
        await self._container.prints(text)

    async def ends(self, noted: str = NOTED) -> None:
        await self._container.end(noted)

    async def vanishes(self) -> None:
        await self._api.remove("pod-1")


class OnNode(Imitated):
    """The same, with its log in files on the node."""

    def __init__(self, api: FakeKubernetes, container: FakeContainer, directory: Path) -> None:
        super().__init__(api, container)
        self._log = directory / "0.log"
        directory.mkdir(parents=True)
        self._log.touch()

    async def prints(self, text: bytes) -> None:
        with self._log.open("ab") as file:
            file.write(cri(text))

    async def vanishes(self) -> None:
        await super().vanishes()
        self._log.unlink()


class Real:
    """A container that prints what it receives on a connection, and ends when the connection is closed."""

    def __init__(self, api: KubernetesApi, path: str, writer: asyncio.StreamWriter) -> None:
        self._api = api
        self._path = path
        self._writer = writer

    async def prints(self, text: bytes) -> None:
        self._writer.write(text)
        await self._writer.drain()

    async def ends(self, noted: str = NOTED) -> None:
        assert noted == NOTED
        self._writer.close()
        await self._writer.wait_closed()

    async def vanishes(self) -> None:
        await self._api.delete(self._path, {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})

        async def is_gone() -> bool:
            try:
                await self._api.get(self._path)
            except ApiError as error:
                return error.status == 404
            return False

        await until(is_gone, within=30, what="the pod's end")
        self._writer.close()


@asynccontextmanager
async def waking() -> AsyncIterator[Wakeups]:
    wakeups = Wakeups()
    task = asyncio.create_task(wakeups.run())
    try:
        yield wakeups
    finally:
        task.cancel()
        await asyncio.wait([task])
        wakeups.close()


@asynccontextmanager
async def cluster_of(api: KubernetesApi) -> AsyncIterator[KubernetesCluster]:
    cluster = KubernetesCluster(api, BOUNDS)
    try:
        yield cluster
    finally:
        await cluster.close()


@asynccontextmanager
async def real_pod(api: KubernetesApi) -> AsyncIterator[tuple[Real, PodName]]:
    """Create a pod whose container `job` runs, in its own namespace."""
    heard: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    host = await host_for_pods(api)
    server = await asyncio.start_server(lambda _, writer: heard.put_nowait(writer), host, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, namespace(api) as name:
        script = f"nc {host} {port}; printf '%s' '{NOTED}' > /dev/termination-log"
        made = await api.post(f"/api/v1/namespaces/{name}/pods", pod_manifest(["sh", "-c", script]))
        async with asyncio.timeout(60):
            writer = await heard.get()
        pod = PodName(name, made["metadata"]["name"], made["metadata"]["uid"])
        try:
            yield Real(api, f"/api/v1/namespaces/{name}/pods/{pod.name}", writer), pod
        finally:
            writer.close()


def pod_manifest(command: list[str], image: str = "busybox:latest", **spec: object) -> Object:
    """Return a pod with this command in its container `job`.

    For logs it is the same as a pod of the executor.
    """
    allowed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "job",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": allowed,
    }
    user = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    key, value = OURS.split("=")
    return {
        "metadata": {"name": f"pod-{secrets.token_hex(4)}", "labels": {key: value}},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "securityContext": user,
            "containers": [container],
            **spec,
        },
    }


@asynccontextmanager
async def cri_files(folder: Path, _api: KubernetesApi | None) -> AsyncIterator[tuple[Container, MakeSource]]:
    pod = FakePod(folder / "pod")
    async with waking() as wakeups:
        yield InDirectory(pod), lambda masker: CriFileSource(PodDirectory(pod.path), "job", masker, wakeups)


@asynccontextmanager
async def api_server(folder: Path, _api: KubernetesApi | None) -> AsyncIterator[tuple[Container, MakeSource]]:
    fake = FakeKubernetes()
    async with (
        fake.serving(folder) as kubeconfig,
        open_kubernetes(kubeconfig) as api,
        cluster_of(api) as cluster,
    ):
        pod = await fake.make("pod-1")
        await pod.containers["job"].start()
        name = PodName("builds", "pod-1", pod.uid)
        yield (
            Imitated(fake, pod.containers["job"]),
            lambda masker: KubernetesSource(cluster, ContainerLog(name, "job", ROTATED_BYTES), masker),
        )


@asynccontextmanager
async def node_files(folder: Path, _api: KubernetesApi | None) -> AsyncIterator[tuple[Container, MakeSource]]:
    fake = FakeKubernetes()
    async with (
        fake.serving(folder) as kubeconfig,
        open_kubernetes(kubeconfig) as api,
        cluster_of(api) as cluster,
        waking() as wakeups,
    ):
        pod = await fake.make("pod-1")
        await pod.containers["job"].start()
        name = PodName("builds", "pod-1", pod.uid)
        container = OnNode(fake, pod.containers["job"], folder / name.directory / "job")
        yield (
            container,
            lambda masker: CriFileSource(NodePod(folder, cluster, name, "job"), "job", masker, wakeups),
        )


@asynccontextmanager
async def real_api_server(
    _folder: Path, api: KubernetesApi | None
) -> AsyncIterator[tuple[Container, MakeSource]]:
    assert api is not None
    async with cluster_of(api) as cluster, real_pod(api) as (container, name):
        yield (
            container,
            lambda masker: KubernetesSource(cluster, ContainerLog(name, "job", ROTATED_BYTES), masker),
        )


@asynccontextmanager
async def real_node_files(
    _folder: Path, api: KubernetesApi | None
) -> AsyncIterator[tuple[Container, MakeSource]]:
    assert api is not None
    async with cluster_of(api) as cluster, waking() as wakeups, real_pod(api) as (container, name):
        if not (POD_LOGS / name.directory).is_dir():
            pytest.skip(
                f"the pods of this Kubernetes do not run on this machine: no {POD_LOGS / name.directory}"
            )
        yield (
            container,
            lambda masker: CriFileSource(NodePod(POD_LOGS, cluster, name, "job"), "job", masker, wakeups),
        )


worlds: dict[
    str, Callable[[Path, KubernetesApi | None], AbstractAsyncContextManager[tuple[Container, MakeSource]]]
] = {
    "cri_files": cri_files,
    "api_server": api_server,
    "node_files": node_files,
    "real_api_server": real_api_server,
    "real_node_files": real_node_files,
}
