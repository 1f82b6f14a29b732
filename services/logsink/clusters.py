"""Kubernetes clusters whose logs this process reads.

Each has one client, one watch per namespace, and a limit on the logs that are followed at once.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import Gauge

from services.logsink.locations import PodName
from services.logsink.pod_watch import PodWatch, WatchedPod
from services.logsink.sources.inbox import Room
from shared.kubernetes.client import KubernetesApi, open_kubernetes

_MOST_HELD_BYTES = 64 << 20
_followed = Gauge("towpath_logsink_follows", "Logs that are followed through an API server")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits on the requests to an API server; see `LogSinkSettings`."""

    most_follows: int
    watch_seconds: float


class KubernetesCluster:
    """One cluster. If `node` is given, only the pods of that node are watched."""

    def __init__(self, api: KubernetesApi, bounds: Bounds, node: str | None = None) -> None:
        self.api = api
        self.room = Room(_MOST_HELD_BYTES)
        self._node = node
        self._watch_seconds = bounds.watch_seconds
        self._follows = asyncio.Semaphore(bounds.most_follows)
        self._watches: dict[str, tuple[PodWatch, asyncio.Task[None]]] = {}

    def watch(self, namespace: str) -> PodWatch:
        """Returns the watch of a namespace. The first call starts it; it then runs until `close`."""
        if namespace not in self._watches:
            made = PodWatch(self.api, namespace, node=self._node, seconds=self._watch_seconds)
            self._watches[namespace] = (made, asyncio.create_task(made.run(), name=f"pods of {namespace}"))
        return self._watches[namespace][0]

    def watched(self, pod: PodName, changed: asyncio.Event) -> WatchedPod:
        """Returns the state of a pod. The event `changed` is set at changes while the result's `run` runs."""
        return WatchedPod(self.api, self.watch(pod.namespace), pod, changed)

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[None]:
        """Waits for a free place among the logs that may be followed at once, in order of arrival."""
        async with self._follows:
            with _followed.track_inprogress():
                yield

    async def close(self) -> None:
        for _, task in self._watches.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._watches.values()), return_exceptions=True)


@asynccontextmanager
async def open_clusters(
    kubeconfigs: Mapping[str, Path | None], bounds: Bounds, node: str | None = None
) -> AsyncIterator[dict[str, KubernetesCluster]]:
    """Opens the clusters and yields them by name.

    Raises ClusterUnusable if a kubeconfig cannot be read. A cluster that does not answer raises nothing here;
    its users wait for it.
    """
    async with AsyncExitStack() as stack:
        clusters: dict[str, KubernetesCluster] = {}
        for name, kubeconfig in kubeconfigs.items():
            api = await stack.enter_async_context(open_kubernetes(kubeconfig))
            clusters[name] = KubernetesCluster(api, bounds, node)
            stack.push_async_callback(clusters[name].close)
        yield clusters
