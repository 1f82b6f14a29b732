"""A real Kubernetes cluster for faults.

Each service reaches its API server through a proxy. Pods in a namespace of the test can be deleted and
doubled, as an operator or a controller may do.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from shared.kubernetes.client import KubernetesApi, Object, open_kubernetes
from tests.chaos.proxy import Proxy, open_proxy
from tests.e2e.test_kubernetes_once import made_from, twin
from tests.harness.backends import KubernetesBackend
from tests.harness.kubernetes import kubeconfig

SERVICES = ("executor", "logsink")
"""The services that use the cluster's API server."""

_CLEARING_SECONDS = 30

Replica = tuple[str, int]
"""A service and the number of one of its processes."""


@dataclass
class Cluster:
    """The test's access to the cluster. Its own connection bypasses every proxy."""

    api: KubernetesApi
    namespace: str
    directory: Path
    proxies: dict[Replica, Proxy] = field(default_factory=dict)
    deleted_runs: set[int] = field(default_factory=set)
    """The ids of the runs of which a pod was deleted."""

    def environment(self, replica: Replica) -> dict[str, str]:
        """Return the environment variables that direct this process through its proxy."""
        if replica not in self.proxies:
            return {}
        path = str(self.kubeconfig(replica))
        return {"TOWPATH_KUBECONFIG": path, "TOWPATH_KUBECONFIGS": f"local={path}"}

    async def running(self) -> list[Object]:
        """Return the running pods that are not being deleted, sorted by name."""
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
        """Return the pods that still exist after 30 seconds. Return early when none is left."""
        for _ in range(_CLEARING_SECONDS):
            if not await self.pods():
                return []
            await asyncio.sleep(1)
        return await self.pods()

    async def delete(self, pod: Object) -> None:
        """Delete the pod at once, without a grace period, as an operator may do."""
        self.deleted_runs.add(int(pod["metadata"]["labels"]["towpath.dev/run"]))
        await self.api.delete(
            f"{self._path()}/{pod['metadata']['name']}",
            {"gracePeriodSeconds": 0, "propagationPolicy": "Background"},
        )

    async def double(self, pod: Object) -> None:
        """Create another pod of the same Job, as the Job controller may do."""
        template = (await made_from(self.api, pod))["spec"]["template"]
        await self.api.post(self._path(), twin(pod, template))

    def _path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    def kubeconfig(self, replica: Replica) -> Path:
        """Return the path of the kubeconfig of this process."""
        return self.directory / f"kubeconfig-{replica[0]}-{replica[1]}"


def through(config: Object, port: int) -> Object:
    """Return the same kubeconfig, with the server reached through a proxy on this machine.

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
    """Return the cluster of the current context."""
    context = next(one["context"] for one in config["contexts"] if one["name"] == config["current-context"])
    cluster: Object = next(one for one in config["clusters"] if one["name"] == context["cluster"])
    return cluster


@asynccontextmanager
async def open_cluster(
    backend: KubernetesBackend, directory: Path, replicas: Iterable[Replica]
) -> AsyncIterator[Cluster]:
    """Connect to the cluster, with a proxy for each replica of the services that use it."""
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
