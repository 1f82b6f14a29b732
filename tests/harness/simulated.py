"""Thousands of pods of attempts on simulated nodes. kwok (kwok.sigs.k8s.io) sets their status; nothing runs.

A simulated node has the label `type=kwok`. The Jobs are not managed by the Job controller, which would create
their pods too slowly. The pods are assigned to nodes without the scheduler.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from services.executor.backend import AttemptSpec
from services.executor.kubernetes.manifest import PodSettings, objects_of
from shared.kubernetes.client import ApiError, KubernetesApi, Object
from tests.harness.waiting import until

_AT_ONCE = 16
_POLICIES = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
_BINDINGS = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"


@dataclass(frozen=True)
class Made:
    """The objects of an attempt."""

    attempt_id: int
    job_uid: str
    pod: str
    pod_uid: str


async def simulated_nodes(api: KubernetesApi) -> list[str]:
    return [
        node["metadata"]["name"]
        for node in (await api.get("/api/v1/nodes", labelSelector="type=kwok"))["items"]
    ]


async def made(
    api: KubernetesApi, specs: Sequence[AttemptSpec], settings: PodSettings, nodes: Sequence[str]
) -> list[Made]:
    """Create Jobs and released pods as the executor does.

    The Job controller does not manage these Jobs. The pods are distributed over the nodes.
    """
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(spec: AttemptSpec, node: str) -> Made:
        async with turn:
            return await _made(api, spec, settings, node)

    return await asyncio.gather(*map(one, specs, itertools.cycle(nodes)))


async def _made(api: KubernetesApi, spec: AttemptSpec, settings: PodSettings, node: str) -> Made:
    manifest = objects_of(spec, settings).job
    manifest["spec"]["managedBy"] = "towpath.dev/tests"
    job = await api.post(f"/apis/batch/v1/namespaces/{settings.namespace}/jobs", manifest)
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": spec.name,
        "uid": job["metadata"]["uid"],
        "controller": True,
    }
    template = job["spec"]["template"]
    metadata = {
        "generateName": f"{spec.name}-",
        "labels": template["metadata"]["labels"],
        "ownerReferences": [owner],
    }
    released = {
        **{key: value for key, value in template["spec"].items() if key != "schedulingGates"},
        "nodeName": node,
    }
    pod = await api.post(
        f"/api/v1/namespaces/{settings.namespace}/pods", {"metadata": metadata, "spec": released}
    )
    return Made(spec.attempt_id, job["metadata"]["uid"], pod["metadata"]["name"], pod["metadata"]["uid"])


async def all_running(api: KubernetesApi, namespace: str) -> bool:
    waiting = await api.get(
        f"/api/v1/namespaces/{namespace}/pods", fieldSelector="status.phase!=Running", limit=1
    )
    return not waiting["items"]


@asynccontextmanager
async def none_succeeds(api: KubernetesApi, settings: PodSettings, probe: AttemptSpec) -> AsyncIterator[None]:
    """Prevent pods of the namespace from succeeding within the block, and delete all of them after it.

    Otherwise a simulated node ends the pods of Jobs as soon as they run. `probe` is an attempt that does not
    exist otherwise. Its pod never gets a node; it shows when the API server enforces the rule.
    """
    name, pods = settings.namespace, f"/api/v1/namespaces/{settings.namespace}/pods"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["pods/status"]}
    where = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
        "resourceRules": [rule],
    }
    validation = {
        "expression": "object.status.phase != 'Succeeded'",
        "message": "no pod of this namespace succeeds",
    }
    await api.post(
        _POLICIES,
        {"metadata": {"name": name}, "spec": {"matchConstraints": where, "validations": [validation]}},
    )
    try:
        await api.post(
            _BINDINGS,
            {"metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]}},
        )
        await _until_refused(api, pods, objects_of(probe, settings).job["spec"]["template"]["spec"])
        yield
    finally:
        await api.delete(f"{_BINDINGS}/{name}")
        await api.delete(f"{_POLICIES}/{name}")
        await _delete_all(api, pods)
        await _delete_all(api, f"/apis/batch/v1/namespaces/{name}/jobs")


async def _delete_all(api: KubernetesApi, path: str) -> None:
    """Delete the objects one by one. For a collection the API server takes longer than a request may."""
    turn = asyncio.Semaphore(_AT_ONCE)

    async def one(name: str) -> None:
        async with turn:
            with contextlib.suppress(ApiError):  # already deleted
                await api.delete(
                    f"{path}/{name}", {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
                )

    await asyncio.gather(*(one(found["metadata"]["name"]) for found in (await api.get(path))["items"]))


async def _until_refused(api: KubernetesApi, pods: str, spec: Object) -> None:
    await api.post(pods, {"metadata": {"name": "probe"}, "spec": spec})

    async def refused() -> bool:
        try:
            await api.patch(f"{pods}/probe/status", {"status": {"phase": "Succeeded"}}, dryRun="All")
        except ApiError as error:
            return "no pod of this namespace succeeds" in error.message
        return False

    await until(refused, within=30, what="the API server knows the rule")
    await api.delete(f"{pods}/probe", {"gracePeriodSeconds": 0})
