"""Fixtures: a world and an executor for each test, on a database of its own."""

from collections.abc import AsyncIterator

import pytest

from shared.kubernetes.client import KubernetesApi
from tests.harness.kubernetes import JOB_IMAGE, TOWPATH_IMAGE, host_for_pods, kubeconfig
from tests.harness.witness import serving
from tests.integration.executor.kubernetes_world import Hand, Remote, running
from tests.integration.executor.world import Local, World, open_world


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    async with open_world(database_url) as ours:
        yield ours


@pytest.fixture
async def executor(world: World) -> AsyncIterator[Local]:
    async with world.executor() as ours:
        yield ours


@pytest.fixture
async def hand(world: World, kubernetes: KubernetesApi, build_namespace: str) -> AsyncIterator[Hand]:
    """Configure the world to run its jobs on a real Kubernetes."""
    changes = {
        "backend": "kubernetes",
        "kubeconfig": kubeconfig(),
        "kubernetes_namespace": build_namespace,
        "kubernetes_default_image": JOB_IMAGE,
        "kubernetes_towpath_image": TOWPATH_IMAGE,
        "kubernetes_cpu": 20,
        "kubernetes_memory": 128 << 20,
        "grace_seconds": 2,
    }
    world.settings = world.settings.model_copy(update=changes)
    async with serving(await host_for_pods(kubernetes)) as witness:
        yield Hand(world, kubernetes, build_namespace, witness)


@pytest.fixture
async def remote(hand: Hand) -> AsyncIterator[Remote]:
    """Yield an executor that watches the cluster."""
    async with running(hand.world) as ours:
        yield ours
