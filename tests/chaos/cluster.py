"""A real Kubernetes to be troubled: a proxy on every way to its API server, and an operator's hand among the pods of a namespace of its own."""

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shared.kubernetes import KubernetesApi, Object, open_kubernetes
from tests.chaos.proxy import Proxy, open_proxy
from tests.harness.backends import KubernetesBackend
from tests.harness.kubernetes import kubeconfig

SERVICES = ("executor", "logsink")
"""Who talks to it."""

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
        path = str(self._kubeconfig(replica))
        return {"TOWPATH_KUBECONFIG": path, "TOWPATH_KUBECONFIGS": f"local={path}"}

    async def running(self) -> list[Object]:
        """Pods whose user code may run, in a settled order."""
        pods = await self.pods()
        return [pod for pod in pods if pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]]

    async def pods(self) -> list[Object]:
        found: list[Object] = (await self.api.get(self._path("api/v1", "pods")))["items"]
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    async def delete(self, pod: Object) -> None:
        """At once, as by hand."""
        self.deleted_runs.add(int(pod["metadata"]["labels"]["towpath.dev/run"]))
        await self.api.delete(f"{self._path('api/v1', 'pods')}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"})

    async def double(self, pod: Object) -> None:
        """Another pod of the same Job, as its controller may make one."""
        owner = pod["metadata"]["ownerReferences"]
        template: dict[str, Any] = (await self.api.get(f"{self._path('apis/batch/v1', 'jobs')}/{owner[0]['name']}"))["spec"]["template"]
        metadata = {**template["metadata"], "generateName": pod["metadata"]["generateName"], "ownerReferences": owner}
        metadata["finalizers"] = pod["metadata"].get("finalizers", [])
        await self.api.post(self._path("api/v1", "pods"), {"metadata": metadata, "spec": template["spec"]})

    def _path(self, group: str, kind: str) -> str:
        return f"/{group}/namespaces/{self.namespace}/{kind}"

    def _kubeconfig(self, replica: Replica) -> Path:
        return self.directory / f"kubeconfig-{replica[0]}-{replica[1]}"

    def write_kubeconfig(self, replica: Replica, admin: Object) -> None:
        """The same, through the proxy; the server proves the name that it has."""
        name = next(context["context"]["cluster"] for context in admin["contexts"] if context["name"] == admin["current-context"])
        port = self.proxies[replica].port
        clusters = [{**one, "cluster": {**one["cluster"], "server": f"https://127.0.0.1:{port}"}} if one["name"] == name else one for one in admin["clusters"]]
        path = self._kubeconfig(replica)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump({**admin, "clusters": clusters}))


@asynccontextmanager
async def open_cluster(backend: KubernetesBackend, directory: Path, replicas: Iterable[Replica]) -> AsyncIterator[Cluster]:
    """With a proxy for each of these that talks to it."""
    path = kubeconfig()
    assert path is not None
    admin = yaml.safe_load(path.read_text())
    context = next(context["context"] for context in admin["contexts"] if context["name"] == admin["current-context"])
    server = next(one["cluster"]["server"] for one in admin["clusters"] if one["name"] == context["cluster"])
    async with open_kubernetes(path) as api, AsyncExitStack() as open_ones:
        cluster = Cluster(api, backend.namespace, directory)
        for replica in replicas:
            if replica[0] in SERVICES:
                cluster.proxies[replica] = await open_ones.enter_async_context(open_proxy(server))
                cluster.write_kubeconfig(replica, admin)
        yield cluster
