"""Jobs on a real Kubernetes that fit no node, that are preempted, or whose node is lost."""

import os
import signal
from pathlib import Path

import pytest

from shared.kubernetes.client import Object
from tests.harness.kubernetes import KUBELET_PID_FILE, nodes_ready
from tests.harness.pod_jobs import Pods, end
from tests.harness.registry import registry
from tests.harness.scenes import job, jobs_of
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.alone("takes the node's room from other pods, and stops its kubelet and its pulls"),
    pytest.mark.pods("only a cluster has nodes"),
    pytest.mark.kubernetes,
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"
    ),
]

LIMITS = {
    "TOWPATH_KUBERNETES_IMAGE_PULL_SECONDS": "15",
    "TOWPATH_KUBERNETES_UNSCHEDULED_SECONDS": "4",
    "TOWPATH_KUBERNETES_NODE_LOST_SECONDS": "3",
}


async def test_an_image_that_takes_too_long(pods: Pods) -> None:
    """A kubelet pulls one image at a time, so a pull that hangs delays all others.

    The others continue when the registry is gone.
    """
    async with registry() as images:
        run = await (await pods.one(job("true", image=images.image("slow")))).ran()
    assert end(run) == ("error", "image_registry")
    assert images.image("slow") in jobs_of(run)["only"]["message"]


async def test_no_node_has_room(pods: Pods) -> None:
    run = await (await pods.one(job("true", resources={"cpu": "60"}))).ran()
    assert end(run) == ("error", "unschedulable")


async def test_preempted_by_a_more_important_pod(pods: Pods) -> None:
    name = f"urgent-{pods.namespace}"
    important = {
        "metadata": {"name": name},
        "value": 1000,
        "preemptionPolicy": "PreemptLowerPriority",
        "description": "of a test",
    }
    await pods.api.post("/apis/scheduling.k8s.io/v1/priorityclasses", important)
    try:
        one = await pods.one(job("echo begun; sleep 60", resources={"cpu": "1200m"}))
        run = await one.started()
        await pods.begun(run)
        await pods.api.post(f"{pods.core}/pods", urgent_pod(name))
        assert end(await pods.towpath.finished(run["id"])) == ("error", "preempted")
    finally:
        await pods.api.delete(f"{pods.core}/pods/urgent", {"gracePeriodSeconds": 0})
        await pods.api.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")


def urgent_pod(priority_class: str) -> Object:
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "only",
        "image": "busybox:latest",
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "600"],
        "securityContext": restricted,
        "resources": {"requests": {"cpu": "1200m"}},
    }
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "priorityClassName": priority_class,
        "containers": [container],
        "securityContext": security,
        "terminationGracePeriodSeconds": 0,
    }
    return {"metadata": {"name": "urgent"}, "spec": spec}


@pytest.mark.skipif(
    not KUBELET_PID_FILE, reason="needs TOWPATH_TEST_KUBELET_PID_FILE: the kubelet is stopped for a while"
)
async def test_f24_the_node_is_lost(pods: Pods) -> None:
    one = await pods.one(job("echo begun; sleep 300", timeout="5m"))
    run = await one.started()
    await pods.begun(run)
    kubelet = int(Path(KUBELET_PID_FILE).read_text())  # noqa: ASYNC240 - a line from a local file
    os.kill(kubelet, signal.SIGSTOP)
    try:
        found = await pods.towpath.finished(run["id"], within=60)
    finally:
        os.kill(kubelet, signal.SIGCONT)
        await until(lambda: nodes_ready(pods.api), within=60, what="a node that is ready")
    assert end(found) == ("error", "node_lost")
