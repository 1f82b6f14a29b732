"""What an executor asks of an API server, counted by the server itself: flow schemas tell the requests of its
service account from all others, by kind.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.kubernetes import KubernetesApi
from tests.harness.installation import Towpath

VERBS = {
    "writes": ["create", "update", "patch", "delete", "deletecollection"],
    "reads": ["get", "list"],
    "watches": ["watch"],
}
_COUNT = re.compile(
    r'apiserver_flowcontrol_dispatched_requests_total\{flow_schema="([^"]+)",[^}]*\} ([0-9.e+]+)'
)


@dataclass(frozen=True)
class Counted:
    """An installation whose executor is a service account with no more than its deployed rights, in the
    namespace of its pods.
    """

    towpath: Towpath
    api: KubernetesApi
    namespace: str
    kubeconfig: Path
    """That account's."""

    async def start_executor(self, **settings: str) -> None:
        """Once it is stopped; ready when this returns."""
        stack = self.towpath.stack
        await asyncio.to_thread(
            stack.start, "executor", 1, {"TOWPATH_KUBECONFIG": str(self.kubeconfig), **settings}
        )
        await asyncio.to_thread(stack.wait_ready, "executor")

    async def requests(self) -> Counter[str]:
        """Those of the executor so far, by kind. A watch is counted when it begins."""
        async with self.api.stream("/metrics", idle_seconds=30) as chunks:
            text = b"".join([chunk async for chunk in chunks]).decode()
        found: Counter[str] = Counter()
        for schema, count in _COUNT.findall(text):
            if schema.startswith(f"{self.namespace}-"):
                found[schema.removeprefix(f"{self.namespace}-")] += round(float(count))
        return found


@asynccontextmanager
async def counting(api: KubernetesApi, namespace: str) -> AsyncIterator[None]:
    """One flow schema for each kind of verb of the namespace's service account `executor`."""
    paths = {kind: f"/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/{namespace}-{kind}" for kind in VERBS}
    subject = {"kind": "ServiceAccount", "serviceAccount": {"name": "executor", "namespace": namespace}}
    for kind, path in paths.items():
        rule = {"verbs": VERBS[kind], "apiGroups": ["*"], "resources": ["*"], "namespaces": [namespace]}
        spec = {
            "matchingPrecedence": 500,
            "priorityLevelConfiguration": {"name": "workload-high"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{"subjects": [subject], "resourceRules": [rule]}],
        }
        await api.post(path.rpartition("/")[0], {"metadata": {"name": f"{namespace}-{kind}"}, "spec": spec})
    try:
        yield
    finally:
        for path in paths.values():
            await api.delete(path)
