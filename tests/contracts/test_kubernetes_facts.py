"""Tests of facts of a real Kubernetes on which the executor depends.

If one of them changes, the executor must change too.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from services.executor.backend import Observation, Phase, PodEnd
from services.executor.kubernetes.backend import BackendOptions, KubernetesBackend
from services.executor.kubernetes.listing import Place
from services.executor.verdict import Claimed, verdict
from shared.kubernetes.client import KubernetesApi, Object
from shared.statuses import Reason
from tests.contracts.clusters import spec
from tests.harness.kubernetes import JOB_IMAGE, host_for_pods
from tests.harness.pods import pod_settings
from tests.harness.waiting import until
from tests.harness.witness import HttpOracle, serving

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

CONTAINERD_SOCKET = os.environ.get("TOWPATH_TEST_CONTAINERD_SOCKET", "")
"""The socket of containerd on this machine, if a test may remove containers there; otherwise empty."""


@asynccontextmanager
async def cluster_of(
    api: KubernetesApi, namespace: str, installation: str = "abcdefgh"
) -> AsyncIterator[KubernetesBackend]:
    settings = pod_settings(
        installation,
        namespace=namespace,
        default_image=JOB_IMAGE,
        cpu_millis=20,
        memory_bytes=128 << 20,
        grace_seconds=3,
    )
    async with KubernetesBackend(
        api,
        Place(namespace, installation),
        settings,
        BackendOptions(watch_seconds=100, log_scheme="kubernetes"),
    ) as cluster:
        yield cluster


@pytest.fixture
async def cluster(kubernetes: KubernetesApi, build_namespace: str) -> AsyncIterator[KubernetesBackend]:
    async with cluster_of(kubernetes, build_namespace) as ours:
        yield ours


async def begin(cluster: KubernetesBackend, wanted: Any) -> Observation:
    """Create and release a pod."""
    await cluster.create(wanted)

    async def check() -> Observation | None:
        found = (await cluster.observe([wanted.name])).get(wanted.name)
        return found if found is not None and found.pods else None

    made = await until(check, within=30, what="a pod")
    await cluster.release(made.name, made.pods[0].uid)
    return made


async def end_of(cluster: KubernetesBackend, name: str) -> PodEnd:
    async def check() -> PodEnd | None:
        pod = (await cluster.observe([name]))[name].pods[0]
        return pod.end if pod.phase is Phase.ENDED else None

    return await until(check, within=60, what="the end")


async def pods_of(api: KubernetesApi, namespace: str) -> list[Object]:
    items: list[Object] = (await api.get(f"/api/v1/namespaces/{namespace}/pods"))["items"]
    return items


async def log_of(api: KubernetesApi, pod: Object) -> str:
    text = b""
    path = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}/log"
    async with api.stream(path, idle_seconds=10, container=pod["spec"]["containers"][0]["name"]) as chunks:
        async for chunk in chunks:
            text += chunk
    return text.decode()


async def pod_with(api: KubernetesApi, namespace: str, words: str) -> Object:
    """Wait until the log of the namespace's only pod has this text, and return the pod."""

    async def check() -> Object | None:
        [pod] = await pods_of(api, namespace)
        running = any(
            status.get("state", {}).get("running") for status in pod["status"].get("containerStatuses", [])
        )
        return pod if running and words in await log_of_now(api, pod) else None

    return await until(check, within=60, what=f"the log says {words}")


async def log_of_now(api: KubernetesApi, pod: Object) -> str:
    return await log_of(api, pod)


# ---------------------------------------------------------------- activeDeadlineSeconds


@pytest.mark.parametrize(
    ("script", "least_seconds", "last"),
    [("trap 'echo bye; exit 0' TERM", 0, "bye"), ("trap '' TERM", 3, "begun")],
)
async def test_a_pod_whose_deadline_is_lowered_stops_with_its_grace_period_and_keeps_object_and_log(
    kubernetes: KubernetesApi, build_namespace: str, script: str, least_seconds: float, last: str
) -> None:
    path = f"/api/v1/namespaces/{build_namespace}/pods"
    await kubernetes.post(path, plain_pod(f"{script}; echo begun; while :; do sleep 0.1; done"))
    await pod_with(kubernetes, build_namespace, "begun")
    began = asyncio.get_running_loop().time()
    await kubernetes.patch(f"{path}/plain", {"spec": {"activeDeadlineSeconds": 1}})

    async def failed() -> Object | None:
        pod = await kubernetes.get(f"{path}/plain")
        return pod if pod["status"]["phase"] == "Failed" else None

    pod = await until(failed, within=60, what="the pod's end")
    assert asyncio.get_running_loop().time() - began >= least_seconds
    assert (pod["status"]["reason"], "deletionTimestamp" in pod["metadata"]) == ("DeadlineExceeded", False)
    assert (await log_of(kubernetes, pod)).splitlines()[-1] == last


def plain_pod(script: str) -> Object:
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {
        "name": "only",
        "image": JOB_IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "securityContext": security,
    }
    pod_security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": 900,
        "terminationGracePeriodSeconds": 3,
        "containers": [container],
    }
    return {"metadata": {"name": "plain"}, "spec": {**spec, "securityContext": pod_security}}


# ---------------------------------------------------------------- two pods


async def test_a_second_gated_pod_of_a_job_never_runs_and_harms_neither_job_nor_pod(
    cluster: KubernetesBackend, kubernetes: KubernetesApi, build_namespace: str
) -> None:
    """The Job controller deletes the second pod itself once it has counted it.

    It deletes the unscheduled pod, never the running one.
    """
    made = await begin(cluster, spec("echo once; sleep 6"))
    first = await pod_with(kubernetes, build_namespace, "once")
    second = await kubernetes.post(f"/api/v1/namespaces/{build_namespace}/pods", twin_of(first))
    await cluster.release(made.name, made.pods[0].uid)
    end = await end_of(cluster, made.name)
    assert (end.exit_code, end.cause) == (0, None)
    claimed = (await cluster.observe([made.name]))[made.name].pods[0]
    assert claimed.uid == first["metadata"]["uid"]
    assert second["metadata"]["uid"] != claimed.uid
    assert "nodeName" not in second["spec"]
    assert (await log_of(kubernetes, first)).count("once\n") == 1

    async def complete() -> bool:
        job = await kubernetes.get(f"/apis/batch/v1/namespaces/{build_namespace}/jobs/{made.name}")
        return any(condition["type"] == "Complete" for condition in job["status"].get("conditions", []))

    await until(complete, within=30, what="the Job's end")


def twin_of(pod: Object) -> Object:
    """Return a copy of the pod as a Job controller makes it if it does not see the first one."""
    kept = {
        key: pod["metadata"].get(key) for key in ("labels", "annotations", "ownerReferences", "finalizers")
    }
    spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    return {
        "metadata": {**kept, "generateName": "twin-"},
        "spec": {**spec, "schedulingGates": [{"name": "towpath.dev/claim"}]},
    }


# ---------------------------------------------------------------- a container that starts twice


@pytest.mark.skipif(
    not CONTAINERD_SOCKET, reason="needs TOWPATH_TEST_CONTAINERD_SOCKET: a container is taken away by hand"
)
async def test_a_container_that_its_node_forgets_is_lost_and_no_step_runs_again(
    cluster: KubernetesBackend, kubernetes: KubernetesApi, build_namespace: str
) -> None:
    """Some kubelets start the container again, despite the restart policy. The driver then exits with 97.

    Kubelets that had seen it run end the pod.
    """
    async with serving(await host_for_pods(kubernetes)) as witness:
        for attempt in range(1, 6):
            oracle = witness.oracle()
            made = await begin(
                cluster, spec(f"{oracle.append('ran')}; sleep 600", attempt=attempt, limit=600)
            )
            await until(partial(has_spoken, oracle), within=60, what="user code")
            await forget(await container_of(made.pods[0].uid))
            end = await end_of(cluster, made.name)
            assert oracle.lines == ["ran"]
            if end.exit_code != 137:  # otherwise the kubelet checked between its end and its removal
                break
    assert end.exit_code in (97, None)
    claimed = Claimed(pod_uid=made.pods[0].uid, job=spec().job, run_timeout_seconds=60, stop_reason=None)
    reached = verdict((await cluster.observe([made.name]))[made.name], claimed)
    assert reached is not None
    assert reached.reason is Reason.LOST
    assert "forgot" in (reached.message or "")


async def has_spoken(oracle: HttpOracle) -> bool:
    return bool(oracle.lines)


async def container_of(pod_uid: str) -> str:
    chosen = f'labels."io.kubernetes.pod.uid"=={pod_uid},labels."io.kubernetes.container.name"==job'
    command = ("ctr", "--address", CONTAINERD_SOCKET, "-n", "k8s.io", "containers", "ls", "-q", chosen)
    listing = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    return (await listing.communicate())[0].decode().split()[0]


async def forget(container: str) -> None:
    """Call RemoveContainer of the container runtime interface, as one gRPC call.

    The message has one field. Five bytes before it give its length.
    """
    message = b"\x0a" + bytes([len(container)]) + container.encode()
    framed = b"\0" + len(message).to_bytes(4, "big") + message
    options = [
        "--http2-prior-knowledge",
        "--unix-socket",
        CONTAINERD_SOCKET,
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
    ]
    address = "http://localhost/runtime.v1.RuntimeService/RemoveContainer"
    quiet = asyncio.subprocess.DEVNULL
    call = await asyncio.create_subprocess_exec(
        "curl", "-sS", *options, "--data-binary", "@-", address, stdin=asyncio.subprocess.PIPE, stdout=quiet
    )
    await call.communicate(framed)
    assert call.returncode == 0


# ---------------------------------------------------------------- two installations


async def test_two_installations_with_equal_attempts_in_one_namespace_do_not_see_each_other(
    kubernetes: KubernetesApi, build_namespace: str
) -> None:
    async with (
        cluster_of(kubernetes, build_namespace, "abcdefgh") as ours,
        cluster_of(kubernetes, build_namespace, "zzzzzzzz") as theirs,
    ):
        mine = await begin(ours, spec("sleep 600"))
        foreign = spec("exit 4", name="tp-zzzzzzzz-1")
        other = await begin(theirs, foreign)
        assert (await end_of(theirs, other.name)).exit_code == 4
        assert [check.name for check in await ours.everything()] == [mine.name]
        assert [check.name for check in await theirs.everything()] == [other.name]
        assert await ours.observe([other.name]) == {}
        assert await theirs.observe([mine.name]) == {}
        await theirs.remove(mine.name, mine.object_uid)
        await theirs.stop(mine.name, mine.pods[0].uid)
        await theirs.remove(other.name, other.object_uid)
        assert (await ours.observe([mine.name]))[mine.name].pods[0].phase is Phase.RELEASED
