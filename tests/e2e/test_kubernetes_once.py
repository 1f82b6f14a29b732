"""User code of an attempt starts once, even if Kubernetes creates another pod for it."""

import os

import pytest

from shared.kubernetes.client import KubernetesApi, Object
from tests.harness.backends import KubernetesBackend
from tests.harness.installation import Towpath
from tests.harness.scenes import job, scene
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.pods("a second pod is made by hand"),
    pytest.mark.kubernetes,
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"
    ),
]


async def test_a_second_pod_of_a_running_job_is_never_released(
    towpath: Towpath, kubernetes: KubernetesApi
) -> None:
    assert isinstance(towpath.backend, KubernetesBackend)
    pods = f"/api/v1/namespaces/{towpath.backend.namespace}/pods"
    oracle, gate = towpath.oracle(), towpath.gate()
    one = await scene(
        towpath, {"only": job(f"{oracle.append('$HOSTNAME')}; while {gate.closed()}; do sleep 0.1; done")}
    )
    run = await one.started()
    selector = {"labelSelector": f"towpath.dev/run={run['id']}"}

    async def started() -> list[str]:
        return oracle.lines

    await until(started, within=20, what="user code")
    first = (await kubernetes.get(pods, **selector))["items"][0]
    second = await kubernetes.post(
        pods, twin(first, (await made_from(kubernetes, first))["spec"]["template"])
    )
    gate.open()
    finished = await towpath.finished(run["id"], sealed=True)

    assert finished["status"] == "success"
    assert oracle.lines == [first["metadata"]["name"]]

    async def gone() -> bool:
        return not (await kubernetes.get(pods, **selector))["items"]

    await until(gone, within=60, what="both pods are gone")
    assert second["spec"]["schedulingGates"]


async def made_from(kubernetes: KubernetesApi, pod: Object) -> Object:
    """Return the Job of a pod."""
    namespace, owner = pod["metadata"]["namespace"], pod["metadata"]["ownerReferences"][0]["name"]
    return await kubernetes.get(f"/apis/batch/v1/namespaces/{namespace}/jobs/{owner}")


def twin(pod: Object, template: Object) -> Object:
    """Return the second pod that a Job controller would create."""
    metadata = {
        **template["metadata"],
        "generateName": pod["metadata"]["generateName"],
        "ownerReferences": pod["metadata"]["ownerReferences"],
    }
    metadata["finalizers"] = pod["metadata"].get("finalizers", [])
    return {"metadata": metadata, "spec": template["spec"]}
