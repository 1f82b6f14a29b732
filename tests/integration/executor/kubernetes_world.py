"""A world whose jobs run on a real Kubernetes.

A `Hand` does in that cluster what people and nodes do to pods.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.executor.kubernetes.backend import KubernetesBackend
from services.executor.store import Wanted
from shared.kubernetes.client import ApiError, KubernetesApi, Object
from shared.messaging.messages import AttemptCancelRequested, AttemptReady
from shared.reconcile import Reconciler
from tests.harness.waiting import until
from tests.harness.witness import Witness
from tests.integration.executor.world import Executor, World

Remote = Executor[KubernetesBackend]


def ready(*wanted: Wanted) -> AttemptReady:
    return AttemptReady(cluster="local", jobs=wanted)


def cancel(*wanted: Wanted) -> AttemptCancelRequested:
    return AttemptCancelRequested(cluster="local", jobs=wanted)


@dataclass
class Hand:
    """Access to the namespace of the jobs."""

    world: World
    api: KubernetesApi
    namespace: str
    witness: Witness

    @property
    def pods_path(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def jobs_path(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    async def pods(self, wanted: Wanted) -> list[Object]:
        attempt = await self.world.attempt(wanted)
        found = await self.api.get(self.pods_path, labelSelector=f"towpath.dev/attempt={attempt['id']}")
        return sorted(
            found["items"], key=lambda pod: (pod["metadata"]["creationTimestamp"], pod["metadata"]["name"])
        )

    async def pod(self, wanted: Wanted, within: float = 30) -> Object:
        return (await until(lambda: self.pods(wanted), within=within, what="a pod"))[0]

    async def jobs(self) -> list[str]:
        return [job["metadata"]["name"] for job in (await self.api.get(self.jobs_path))["items"]]

    async def until_pod(
        self, wanted: Wanted, what: str, is_so: Callable[[Object], Any], within: float = 60
    ) -> Object:
        async def check() -> Object | None:
            return next((pod for pod in await self.pods(wanted) if is_so(pod)), None)

        return await until(check, within=within, what=what)

    async def said(self, oracle: Any, within: float = 60) -> None:
        """Wait until user code has written to the oracle."""

        async def check() -> bool:
            return bool(oracle.lines)

        await until(check, within=within, what="user code")

    async def log(self, pod: Object, container: str = "job") -> str:
        text = b""
        async with self.api.stream(
            f"{self.pods_path}/{pod['metadata']['name']}/log", idle_seconds=10, container=container
        ) as chunks:
            async for chunk in chunks:
                text += chunk
        return text.decode()

    async def delete(self, path: str, **options: object) -> None:
        await self.api.delete(path, {"propagationPolicy": "Background", **options})

    async def is_gone(self, path: str) -> bool:
        try:
            await self.api.get(path)
        except ApiError as error:
            return error.status == 404
        return False


@asynccontextmanager
async def running(
    world: World, *, check_every_seconds: float | None = None, **settings: object
) -> AsyncIterator[Remote]:
    """Run an executor that watches, with these settings.

    Its reconcilers run only if `check_every_seconds` is given.
    """
    world.settings = world.settings.model_copy(update=settings)
    async with world.on_kubernetes() as ours:
        tasks = [asyncio.create_task(ours.watching.run())]
        if check_every_seconds is not None:
            tasks.append(asyncio.create_task(Reconciler(ours.checks.checks(), check_every_seconds).run()))
        try:
            yield ours
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def claimed(world: World, wanted: Wanted, within: float = 30) -> Any:
    async def check() -> Any:
        attempt = await world.attempt(wanted)
        return attempt if attempt is not None and attempt["pod_uid"] is not None else None

    return await until(check, within=within, what="the claim")


async def checked(check: Callable[[], Awaitable[int]], within: float = 60) -> int:
    """Repeat a reconciler's check until it has found something."""
    return await until(check, within=within, what="something to do")
