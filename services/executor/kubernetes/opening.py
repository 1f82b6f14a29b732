"""Opens the Kubernetes backend as the settings describe it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.executor.kubernetes.backend import BackendOptions, KubernetesBackend
from services.executor.kubernetes.listing import Place
from services.executor.kubernetes.manifest import PodSettings
from services.executor.settings import ExecutorSettings
from shared.kubernetes.client import open_kubernetes


@asynccontextmanager
async def open_kubernetes_cluster(
    settings: ExecutorSettings, installation: str
) -> AsyncIterator[KubernetesBackend]:
    """Open the Kubernetes backend. Does not wait for the cluster to answer. Raises ClusterUnusable."""
    place = Place(settings.kubernetes_namespace, installation)
    options = BackendOptions(
        watch_seconds=settings.kubernetes_watch_seconds,
        log_scheme="node" if settings.kubernetes_logs == "agent" else "kubernetes",
    )
    async with (
        open_kubernetes(settings.kubeconfig) as api,
        KubernetesBackend(api, place, pod_settings(settings, installation), options) as cluster,
    ):
        yield cluster


def pod_settings(settings: ExecutorSettings, installation: str) -> PodSettings:
    """Return the administrator's settings for pods."""
    return PodSettings(
        installation=installation,
        namespace=settings.kubernetes_namespace,
        towpath_image=settings.kubernetes_towpath_image,
        default_image=settings.kubernetes_default_image,
        cpu_millis=settings.kubernetes_cpu,
        memory_bytes=settings.kubernetes_memory,
        ephemeral_storage_bytes=settings.kubernetes_ephemeral_storage,
        node_lost_seconds=settings.kubernetes_node_lost_seconds,
        image_pull_seconds=settings.kubernetes_image_pull_seconds,
        start_seconds=settings.kubernetes_start_seconds,
        grace_seconds=settings.grace_seconds,
        clone_seconds=settings.clone_seconds,
        clone_protocols="https:http:file" if settings.allow_local_clone_urls else "https",
        allow_root=settings.kubernetes_allow_root,
        node_selector_keys=frozenset(settings.kubernetes_allow_node_selector),
    )
