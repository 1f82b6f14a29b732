"""Counts the requests of an executor to an API server, by kind. The server itself counts them.

One flow schema for each kind separates the requests of the executor's service account from all others.
"""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.kubernetes.client import KubernetesApi
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
    """An installation whose executor uses a service account with exactly its deployed rights.

    The account is in the namespace of the executor's pods.
    """

    towpath: Towpath
    api: KubernetesApi
    namespace: str
    kubeconfig: Path
    """The kubeconfig of the executor's service account."""

    async def start_executor(self, **settings: str) -> None:
        """Start the stopped executor with these settings, and return when it is ready."""
        stack = self.towpath.stack
        await asyncio.to_thread(
            stack.start, "executor", 1, {"TOWPATH_KUBECONFIG": str(self.kubeconfig), **settings}
        )
        await asyncio.to_thread(stack.wait_ready, "executor")

    async def requests(self) -> Counter[str]:
        """Return the number of requests of the executor so far, by kind. A watch counts when it begins."""
        async with self.api.stream("/metrics", idle_seconds=30) as chunks:
            text = b"".join([chunk async for chunk in chunks]).decode()
        found: Counter[str] = Counter()
        for schema, count in _COUNT.findall(text):
            if schema.startswith(f"{self.namespace}-"):
                found[schema.removeprefix(f"{self.namespace}-")] += round(float(count))
        return found


@asynccontextmanager
async def counting(api: KubernetesApi, namespace: str) -> AsyncIterator[None]:
    """Create a flow schema for each kind of verb, for the namespace's service account `executor`."""
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
