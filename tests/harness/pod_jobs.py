"""An installation whose jobs are pods of a real Kubernetes, with queries of the cluster for tests."""

from dataclasses import dataclass
from typing import Any

from shared.kubernetes.client import KubernetesApi, Object
from tests.harness.installation import Towpath
from tests.harness.scenes import Document, Scene, jobs_of, scene
from tests.harness.waiting import until


@dataclass(frozen=True)
class Pods:
    """An installation and the cluster on which it runs jobs."""

    towpath: Towpath
    api: KubernetesApi
    namespace: str

    async def one(self, only: Document, **fields: Any) -> Scene:
        return await scene(self.towpath, {"only": only}, **fields)

    async def pods_of(self, run: Document) -> list[Object]:
        selector = f"towpath.dev/run={run['id']}"
        found: list[Object] = (await self.api.get(f"{self.core}/pods", labelSelector=selector))["items"]
        return found

    async def pod_of(self, run: Document, phase: str | None = "Running") -> Object:
        """Wait until the run's only pod is in this phase, and return it."""

        async def check() -> Object | None:
            pods = await self.pods_of(run)
            return pods[0] if pods and phase in (None, pods[0]["status"].get("phase")) else None

        return await until(check, within=20, what=f"a pod that is {phase}")

    async def begun(self, run: Document, line: bytes = b"begun\n") -> None:
        async def check() -> bool:
            return line in await self.towpath.log(run["id"], "only")

        await until(check, within=20, what=f"the log has {line!r}")

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def batch(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}"


def end(run: Document) -> tuple[str, str | None]:
    """Return status and reason of the run's only job. Raises AssertionError if a reason has no message."""
    found = jobs_of(run)["only"]
    assert found["reason"] is None or found["message"], found
    return found["status"], found["reason"]
