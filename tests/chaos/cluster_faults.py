"""Faults of pods on a Kubernetes cluster."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from devstack.errors import DevstackError
from shared.kubernetes.client import Object
from tests.chaos.cluster import Cluster
from tests.chaos.world import World


@asynccontextmanager
async def pod_deleted(world: World) -> AsyncIterator[None]:
    """Delete a running pod. Its run is `lost`, unless the end of the pod was seen before."""
    cluster, pod = await _a_pod(world)
    await cluster.delete(pod)
    yield


@asynccontextmanager
async def pod_doubled(world: World) -> AsyncIterator[None]:
    """Give a running Job a second pod. That pod is never released."""
    cluster, pod = await _a_pod(world)
    await cluster.double(pod)
    yield


async def _a_pod(world: World) -> tuple[Cluster, Object]:
    assert world.cluster is not None
    pods = await world.cluster.running()
    if not pods:
        raise DevstackError("no pod runs at the moment")
    return world.cluster, world.chance.choice(pods)
