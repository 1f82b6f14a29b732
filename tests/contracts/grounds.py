"""The environments in which the contract of a cluster is tested, one for each kind of cluster.

Each has a way to read the output of its pods.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import pytest

from services.executor.backend import AttemptSpec, Backend, Observation, Phase, PodEnd
from services.executor.kubernetes.backend import BackendOptions, KubernetesBackend
from services.executor.kubernetes.listing import Place
from services.executor.local.backend import LocalBackend
from services.executor.local.sandbox import Sandbox
from shared import step_markers
from shared.errors import Transient
from shared.kubernetes.client import ApiError, KubernetesApi
from tests.contracts import clusters
from tests.contracts.clusters import INSTALLATION, LIMITS, TOKEN, Origin
from tests.harness.kubernetes import JOB_IMAGE, TOWPATH_IMAGE
from tests.harness.pods import pod_settings
from tests.harness.waiting import until
from tests.harness.witness import Witness

LOCAL = ("bubblewrap", "none")
"""The sandboxes of local grounds."""

ON_THIS_MACHINE = pytest.mark.parametrize("wanted_ground", LOCAL, indirect=True)
"""For tests whose subject does not depend on the cluster: a pod for each would take minutes."""


class Ground(Protocol):
    @property
    def grace_seconds(self) -> float: ...

    def unhurried(self) -> "Ground":
        """Return an environment in which a job has 30 s between SIGTERM and SIGKILL."""

    def executor(self, installation: str = INSTALLATION) -> AbstractAsyncContextManager[Backend]:
        """Return another executor's client of this cluster."""

    async def log_of(self, made: Observation, container: str = "job") -> str:
        """Return a container's log without step markers, or an empty text if there is none."""

    async def raw_log_of(self, made: Observation) -> bytes:
        """Return the job's log with step markers."""

    async def destroy(self, made: Observation) -> None:
        """Destroy the pod by force, bypassing the executor."""

    def clone_url(self, origin: Origin) -> str: ...


@dataclass(frozen=True)
class LocalGround:
    folder: Path
    sandbox: Sandbox
    grace_seconds: float = LIMITS.grace_seconds

    def unhurried(self) -> "LocalGround":
        return replace(self, grace_seconds=30)

    def executor(self, installation: str = INSTALLATION) -> AbstractAsyncContextManager[Backend]:
        limits = replace(LIMITS, grace_seconds=self.grace_seconds)
        return LocalBackend(self.folder / "local", installation, self.sandbox, limits)

    async def log_of(self, made: Observation, container: str = "job") -> str:
        return clusters.log_of(made, container=container)

    async def raw_log_of(self, made: Observation) -> bytes:
        return clusters.raw_log_of(made)

    async def destroy(self, made: Observation) -> None:
        os.kill(clusters.supervisor_of(made), signal.SIGKILL)

    def clone_url(self, origin: Origin) -> str:
        return origin.url


@dataclass(frozen=True)
class KubernetesGround:
    api: KubernetesApi
    namespace: str
    witness: Witness
    grace_seconds: float = 6
    """This includes the time that the kubelet needs to reach the container."""

    def unhurried(self) -> "KubernetesGround":
        return replace(self, grace_seconds=30)

    @asynccontextmanager
    async def executor(self, installation: str = INSTALLATION) -> AsyncIterator[Backend]:
        settings = pod_settings(
            installation,
            namespace=self.namespace,
            towpath_image=TOWPATH_IMAGE,
            default_image=JOB_IMAGE,
            cpu_millis=20,
            memory_bytes=128 << 20,
            grace_seconds=self.grace_seconds,
            clone_protocols="https:http",
        )
        async with KubernetesBackend(
            self.api,
            Place(self.namespace, installation),
            settings,
            BackendOptions(watch_seconds=100, log_scheme="kubernetes"),
        ) as cluster:
            yield cluster

    async def log_of(self, made: Observation, container: str = "job") -> str:
        return step_markers.strip(await self._log_of(made, container), step_markers.nonce(TOKEN)).decode()

    async def raw_log_of(self, made: Observation) -> bytes:
        return await self._log_of(made, "job")

    async def _log_of(self, made: Observation, container: str) -> bytes:
        """Read until two responses are equal, because a response may be cut without notice."""
        before, text = None, b""
        try:
            while text != before:
                before, text = text, await self._answer(made, container)
        except ApiError as error:
            if error.status not in (204, 400, 404):  # no node yet, not started, or gone
                raise
            return b""
        return text

    async def _answer(self, made: Observation, container: str) -> bytes:
        async with self.api.stream(f"{self._pod(made)}/log", idle_seconds=10, container=container) as chunks:
            return b"".join([chunk async for chunk in chunks])

    async def destroy(self, made: Observation) -> None:
        await self.api.delete(self._pod(made), {"propagationPolicy": "Background", "gracePeriodSeconds": 0})

    def clone_url(self, origin: Origin) -> str:
        return self.witness.clone_url(origin.folder)

    def _pod(self, made: Observation) -> str:
        _, _, _, namespace, name, _ = made.log_location.split("/")
        return f"/api/v1/namespaces/{namespace}/pods/{name}"


async def created(cluster: Backend, wanted: AttemptSpec) -> Observation:
    """Create a pod that can be claimed, and retry as a handler does."""

    async def check() -> Observation | None:
        try:
            made = await cluster.create(wanted)
        except Transient:
            return None
        made = made if made.pods else (await cluster.observe([wanted.name])).get(wanted.name, made)
        return made if made.pods and made.pods[0].phase is not Phase.ENDED else None

    return await until(check, within=30, what="a pod")


async def begin(cluster: Backend, wanted: AttemptSpec) -> Observation:
    """Create and release a pod."""
    made = await created(cluster, wanted)
    await cluster.release(made.name, made.pods[0].uid)
    return made


async def end_of(cluster: Backend, made: Observation, within: float = 60) -> tuple[Phase, PodEnd]:
    async def check() -> tuple[Phase, PodEnd] | None:
        found = (await cluster.observe([made.name])).get(made.name)
        pod = next((pod for pod in found.pods if pod.uid == made.pods[0].uid), None) if found else None
        return (
            (pod.phase, pod.end or PodEnd())
            if pod is not None and pod.phase in (Phase.ENDED, Phase.LOST)
            else None
        )

    return await until(check, within=within, what="the end of the pod")


async def run(ground: Ground, cluster: Backend, wanted: AttemptSpec) -> tuple[PodEnd, str]:
    made = await begin(cluster, wanted)
    _, end = await end_of(cluster, made)
    return end, await ground.log_of(made)


async def said(ground: Ground, made: Observation, text: str) -> None:
    """Wait until the job has written this text."""

    async def check() -> bool:
        return text in await ground.log_of(made)

    await until(check, within=60, what=f"the job says {text}")
