"""A real Kubernetes to be troubled: a proxy on every way to its API server, and an operator's hand among the
pods of a namespace of its own.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from shared.kubernetes import KubernetesApi, Object, open_kubernetes
from tests.chaos.proxy import Proxy, open_proxy
from tests.e2e.test_kubernetes_once import made_from, twin
from tests.harness.backends import KubernetesBackend
from tests.harness.kubernetes import kubeconfig

SERVICES = ("executor", "logsink")
"""Who talks to it."""

_CLEARING_SECONDS = 30

Replica = tuple[str, int]
"""A service and the number of one of its processes."""


@dataclass
class Cluster:
    """Its own connection is past every proxy."""

    api: KubernetesApi
    namespace: str
    directory: Path
    proxies: dict[Replica, Proxy] = field(default_factory=dict)
    deleted_runs: set[int] = field(default_factory=set)
    """Those of which somebody deleted a pod."""

    def environment(self, replica: Replica) -> dict[str, str]:
        """What is different for this process."""
        if replica not in self.proxies:
            return {}
        path = str(self.kubeconfig(replica))
        return {"TOWPATH_KUBECONFIG": path, "TOWPATH_KUBECONFIGS": f"local={path}"}

    async def running(self) -> list[Object]:
        """Pods whose user code may run, in a settled order."""
        pods = await self.pods()
        return [
            pod
            for pod in pods
            if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]
        ]

    async def pods(self) -> list[Object]:
        found: list[Object] = (await self.api.get(self._path()))["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    async def leftovers(self) -> list[Object]:
        """What Kubernetes has not cleared away half a minute after the last Job was deleted."""
        for _ in range(_CLEARING_SECONDS):
            if not await self.pods():
                return []
            await asyncio.sleep(1)
        return await self.pods()

    async def delete(self, pod: Object) -> None:
        """At once, as by hand."""
        self.deleted_runs.add(int(pod["metadata"]["labels"]["towpath.dev/run"]))
        await self.api.delete(
            f"{self._path()}/{pod['metadata']['name']}",
            {"gracePeriodSeconds": 0, "propagationPolicy": "Background"},
        )

    async def double(self, pod: Object) -> None:
        """Another pod of the same Job, as its controller may make one."""
        template = (await made_from(self.api, pod))["spec"]["template"]
        await self.api.post(self._path(), twin(pod, template))

    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def kubeconfig(self, replica: Replica) -> Path:
        """Of this process."""
        return self.directory / f"kubeconfig-{replica[0]}-{replica[1]}"


def through(config: Object, port: int) -> Object:
    """The same kubeconfig, by way of a proxy on this machine.

    The server's certificate has to name 127.0.0.1.
    """
    used = _used(config)["name"]
    there = {"server": f"https://127.0.0.1:{port}"}
    return {
        **config,
        "clusters": [
            {**one, "cluster": {**one["cluster"], **there}} if one["name"] == used else one
            for one in config["clusters"]
        ],
    }


def _used(config: Object) -> Object:
    """The cluster of the current context."""
    context = next(one["context"] for one in config["contexts"] if one["name"] == config["current-context"])
    cluster: Object = next(one for one in config["clusters"] if one["name"] == context["cluster"])
    return cluster


@asynccontextmanager
async def open_cluster(
    backend: KubernetesBackend, directory: Path, replicas: Iterable[Replica]
) -> AsyncIterator[Cluster]:
    """With a proxy for each of these that talks to it."""
    path = kubeconfig()
    assert path is not None
    config = yaml.safe_load(path.read_text())
    async with open_kubernetes(path) as api, AsyncExitStack() as open_ones:
        cluster = Cluster(api, backend.namespace, directory)
        for replica in (one for one in replicas if one[0] in SERVICES):
            proxy = cluster.proxies[replica] = await open_ones.enter_async_context(
                open_proxy(_used(config)["cluster"]["server"])
            )
            own = cluster.kubeconfig(replica)
            own.touch(mode=0o600)
            own.write_text(yaml.safe_dump(through(config, proxy.port)))
        yield cluster
