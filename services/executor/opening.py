"""Opens the backend of the cluster that this executor serves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.executor.backend import Backend
from services.executor.local.opening import open_local_cluster
from services.executor.settings import ExecutorSettings


@asynccontextmanager
async def open_cluster(settings: ExecutorSettings, installation: str) -> AsyncIterator[Backend]:
    """Open the backend that the settings select.

    Raises SandboxUnusable, FolderTaken or ClusterUnusable if it cannot be used.
    """
    if settings.backend == "local":
        async with open_local_cluster(settings, installation) as local:
            yield local
    else:
        from services.executor.kubernetes import opening  # noqa: PLC0415 - its library takes much memory

        async with opening.open_kubernetes_cluster(settings, installation) as remote:
            yield remote
