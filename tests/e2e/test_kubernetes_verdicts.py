"""What becomes of jobs on a real Kubernetes: each way to end, brought about for real, has its own word."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shared.kubernetes import KubernetesApi, Object
from tests.conftest import Template, fresh_database, fresh_vhost
from tests.e2e.conftest import installation
from tests.harness.backends import KubernetesBackend
from tests.harness.git import GitRepository
from tests.harness.github import new_sha
from tests.harness.installation import Towpath
from tests.harness.kubernetes import KUBELET_PID_FILE, SERVICE_IMAGE, nodes_ready
from tests.harness.registry import Registry, registry
from tests.harness.scenes import Document, Scene, job, jobs_of, scene
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.alone("reasons come within seconds, for which its pods need room on the node"),
    pytest.mark.pods("each reason that only a cluster gives"),
    pytest.mark.kubernetes,
    pytest.mark.skipif(os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"),
]

HOG = 'python3 -c "b = bytearray(400 << 20); print(len(b))"'
FILL = "dd if=/dev/zero of=/towpath/workspace/big bs=1M count=250 2>/dev/null"
LIMITS = {
    "TOWPATH_KUBERNETES_UNSCHEDULED_SECONDS": "4",
    "TOWPATH_KUBERNETES_IMAGE_PULL_SECONDS": "15",
    "TOWPATH_KUBERNETES_START_SECONDS": "15",
    "TOWPATH_KUBERNETES_NODE_LOST_SECONDS": "3",
    "TOWPATH_KUBERNETES_EPHEMERAL_STORAGE": "100Mi",
    "TOWPATH_KUBERNETES_ALLOW_ROOT": "never",
}


@dataclass(frozen=True)
class Pods:
    """An installation with short limits, and the cluster it runs jobs on."""

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
        """The run's only pod, once it is in this phase."""

        async def look() -> Object | None:
            pods = await self.pods_of(run)
            return pods[0] if pods and phase in (None, pods[0]["status"].get("phase")) else None

        return await until(look, within=20, what=f"a pod that is {phase}")

    async def begun(self, run: Document, line: bytes = b"begun\n") -> None:
        async def look() -> bool:
            return line in await self.towpath.log(run["id"], "only")

        await until(look, within=20, what=f"the log has {line!r}")

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def batch(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}"


@pytest.fixture(scope="module")
async def pods(template: Template, kubernetes: KubernetesApi, request: pytest.FixtureRequest) -> AsyncIterator[Pods]:
    sources, rabbit = request.getfixturevalue("server_sources"), request.getfixturevalue("rabbit")
    with fresh_vhost(sources, rabbit) as amqp_url:
        async with fresh_database(template) as database_url, installation(database_url, amqp_url, **LIMITS) as towpath:
            assert isinstance(towpath.backend, KubernetesBackend)
            yield Pods(towpath, kubernetes, towpath.backend.namespace)


@pytest.fixture
async def images() -> AsyncIterator[Registry]:
    """One for each test, for kubelets pull one image at a time: a pull that hangs holds up all others until its registry is gone."""
    async with registry() as served:
        yield served


def end(run: Document) -> tuple[str, str | None]:
    found = jobs_of(run)["only"]
    assert found["reason"] is None or found["message"], found
    return found["status"], found["reason"]


# ---------------------------------------------------------------- the user's code


async def test_success_and_a_script_that_failed(pods: Pods) -> None:
    good, bad = await pods.one(job("echo fine")), await pods.one(job("exit 3"))
    assert end(await good.ran()) == ("success", None)
    run = await bad.ran()
    assert end(run) == ("failed", "script_failed")
    assert jobs_of(run)["only"]["attempts"][0]["exit_code"] == 3


async def test_a_step_and_a_job_over_their_time(pods: Pods) -> None:
    step = await pods.one({"checkout": False, "steps": [{"name": "slow", "run": "sleep 60", "timeout": "1s"}]})
    whole = await pods.one(job("sleep 60", timeout="2s"))
    by_step = await step.ran()
    assert end(by_step) == ("failed", "timed_out")
    assert "slow" in jobs_of(by_step)["only"]["message"]
    assert end(await whole.ran()) == ("failed", "timed_out")


@pytest.mark.parametrize("script", [f"exec {HOG}", f"{HOG} & wait $!"], ids=["main", "child"])
async def test_f25_out_of_memory(pods: Pods, script: str) -> None:
    one = await pods.one(job(script, resources={"memory": "64Mi"}))
    assert end(await one.ran()) == ("failed", "oom_killed")


async def test_an_image_made_for_root_works_for_an_unprivileged_user(pods: Pods) -> None:
    script = 'id -u; python3 -m venv v; . v/bin/activate; python -c "print(6 * 7)"; echo x > "$HOME/mine"; git init -q r; ls "$HOME"'
    run = await (await pods.one(job(script))).ran()
    assert end(run) == ("success", None)
    assert await pods.towpath.log(run["id"], "only") == b"1000\n42\nmine\n"


# ---------------------------------------------------------------- services


async def test_a_service_is_reachable_by_its_name_once_it_is_ready(pods: Pods) -> None:
    serving = {"image": SERVICE_IMAGE, "env": {"RUN": "cd /tmp; echo hello > index.html; exec python3 -m http.server 8000"}, "ready": {"tcp": 8000}}
    run = await (await pods.one(job("curl -fsS http://web:8000/index.html", services={"web": serving}))).ran()
    assert end(run) == ("success", None)
    assert await pods.towpath.log(run["id"], "only") == b"hello\n"


async def test_a_service_that_never_gets_ready(pods: Pods) -> None:
    silent = {"image": SERVICE_IMAGE, "env": {"RUN": "sleep 600"}, "ready": {"tcp": 8000, "within": "3s"}}
    run = await (await pods.one(job("true", services={"web": silent}))).ran()
    assert end(run) == ("failed", "service_failed")
    assert "web" in jobs_of(run)["only"]["message"]


async def test_a_service_out_of_memory(pods: Pods) -> None:
    """The job fails for want of it, and the reason is the service's."""
    hungry = {"image": SERVICE_IMAGE, "env": {"RUN": f"sleep 2; {HOG}"}}
    run = await (await pods.one(job("sleep 10; exit 1", services={"db": hungry}))).ran()
    assert end(run) == ("failed", "oom_killed")
    assert "db" in jobs_of(run)["only"]["message"]


async def test_a_service_that_takes_longer_than_starts_may(pods: Pods) -> None:
    slow = {"image": SERVICE_IMAGE, "env": {"RUN": "sleep 600"}, "ready": {"tcp": 8000, "within": "10m"}}
    run = await (await pods.one(job("true", services={"db": slow}))).ran()
    assert end(run) == ("error", "start_timed_out")


# ---------------------------------------------------------------- the cluster


async def test_evicted_for_its_use_of_the_disk(pods: Pods) -> None:
    """Whether the script makes an end of its own of it, or not. Kubelets look at disks only now and then: both wait for that at once."""
    wait = "echo begun; i=0; while [ $i -lt 900 ]; do sleep 0.1; i=$((i + 1)); done"
    scenes = [await pods.one(job(f"{trap}{FILL}; {wait}")) for trap in ("trap 'exit 1' TERM; ", "")]
    for run in await asyncio.gather(*(one.ran(within=120) for one in scenes)):
        assert end(run) == ("error", "evicted")
        assert "ephemeral" in jobs_of(run)["only"]["message"]


async def test_preempted_by_a_more_important_pod(pods: Pods) -> None:
    name = f"urgent-{pods.namespace}"
    important = {"metadata": {"name": name}, "value": 1000, "preemptionPolicy": "PreemptLowerPriority", "description": "of a test"}
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
    spec = {"priorityClassName": priority_class, "containers": [container], "securityContext": security, "terminationGracePeriodSeconds": 0}
    return {"metadata": {"name": "urgent"}, "spec": spec}


WITHOUT = [("missing", "image_missing"), ("private", "image_auth"), ("broken", "image_registry"), ("slow", "image_registry")]


@pytest.mark.parametrize(("kind", "reason"), WITHOUT)
async def test_an_image_that_can_not_be_had(pods: Pods, images: Registry, kind: str, reason: str) -> None:
    run = await (await pods.one(job("true", image=images.image(kind)))).ran()
    assert end(run) == ("error", reason)
    assert images.image(kind) in jobs_of(run)["only"]["message"]


async def test_no_node_has_room(pods: Pods) -> None:
    run = await (await pods.one(job("true", resources={"cpu": "60"}))).ran()
    assert end(run) == ("error", "unschedulable")


async def test_a_full_quota_makes_a_job_wait_and_then_it_runs(pods: Pods) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}
    await pods.api.post(f"{pods.core}/resourcequotas", quota)
    try:
        one = await pods.one(job("true"))
        run = await one.started()

        async def waits() -> bool:
            return bool(jobs_of(await one.run(run["id"]))["only"]["waiting_for"] == "quota")

        await until(waits, within=30, what="waiting_for: quota")
    finally:
        await pods.api.delete(f"{pods.core}/resourcequotas/none")
    assert end(await pods.towpath.finished(run["id"], within=60)) == ("success", None)


async def test_a_job_that_the_cluster_does_not_allow(pods: Pods) -> None:
    limit = {"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]}}
    await pods.api.post(f"{pods.core}/limitranges", limit)
    try:
        run = await (await pods.one(job("true", resources={"memory": "2Gi"}))).ran()
    finally:
        await pods.api.delete(f"{pods.core}/limitranges/small")
    assert end(run) == ("error", "config_invalid")
    assert "1Gi" in jobs_of(run)["only"]["message"]


async def test_a_commit_that_is_not_there(pods: Pods, scratch: Path) -> None:
    repository = GitRepository(scratch / "repository")
    repository.commit({"file": "x"})
    one = await scene(pods.towpath, {"only": {"steps": [{"run": "true"}]}}, clone_url=pods.towpath.clone_url(repository.directory))
    assert end(await one.ran(sha=new_sha())) == ("error", "clone_failed")


@pytest.mark.parametrize("what", ["pods", "jobs"])
async def test_deleted_by_hand(pods: Pods, what: str) -> None:
    oracle = pods.towpath.oracle()
    one = await pods.one(job(f"{oracle.append('ran')}; echo begun; sleep 60"))
    run = await one.started()
    await pods.begun(run)
    pod = await pods.pod_of(run)
    now = {"gracePeriodSeconds": 0, "propagationPolicy": "Background"}
    if what == "pods":
        await pods.api.delete(f"{pods.core}/pods/{pod['metadata']['name']}", now)
    else:
        await pods.api.delete(f"{pods.batch}/jobs/{pod['metadata']['ownerReferences'][0]['name']}", now)
    assert end(await pods.towpath.finished(run["id"], sealed=True)) == ("error", "lost")
    assert oracle.lines == ["ran"]


@pytest.mark.skipif(not KUBELET_PID_FILE, reason="needs TOWPATH_TEST_KUBELET_PID_FILE: the kubelet is stopped for a while")
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


# ---------------------------------------------------------------- a stop


async def cancel(one: Scene, run: Document) -> None:
    answer = await one.person.client.post(f"/runs/{run['id']}/cancel")
    assert answer.status in {200, 202}, answer.text


async def test_cancelled_before_it_ran(pods: Pods) -> None:
    oracle = pods.towpath.oracle()
    one = await pods.one(job(oracle.append("ran"), resources={"cpu": "60"}))
    run = await one.started()
    await pods.pod_of(run, "Pending")
    await cancel(one, run)
    assert end(await pods.towpath.finished(run["id"], sealed=True)) == ("cancelled", "cancelled_by_user")
    assert oracle.lines == []


async def test_cancelled_while_it_ran_and_its_log_is_kept_to_the_last_line(pods: Pods) -> None:
    one = await pods.one(job("trap 'echo last words; exit 0' TERM; echo begun; i=0; while [ $i -lt 600 ]; do sleep 0.1; i=$((i + 1)); done"))
    run = await one.started()
    await pods.begun(run)
    await cancel(one, run)
    assert end(await pods.towpath.finished(run["id"], sealed=True)) == ("cancelled", "cancelled_by_user")
    log = await pods.towpath.log(run["id"], "only")
    assert log.replace(b"Terminated\n", b"") == b"begun\nlast words\n"  # the shell's word about the sleep that was ended


async def test_user_code_finds_no_credential(pods: Pods) -> None:
    looks = ["env | sort", "cat /proc/self/mounts", "ls -la /var/run/secrets/kubernetes.io/serviceaccount 2>&1 || true", "ls -laR /towpath /towpath-driver"]
    one = await pods.one(job("; ".join([*looks, "ls /towpath-clone 2>&1 || true"])))
    run = await one.ran()
    assert end(run) == ("success", None)
    text = (await pods.towpath.log(run["id"], "only")).decode()
    assert "serviceaccount/token" not in text
    assert "No such file" in text
    labels = (await pods.api.get(f"/api/v1/namespaces/{pods.namespace}"))["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


async def test_every_object_of_a_run_goes_once_its_log_is_sealed(pods: Pods) -> None:
    run = await (await pods.one(job("echo done"))).ran()

    async def gone() -> bool:
        selector = f"towpath.dev/run={run['id']}"
        kinds = (f"{pods.core}/pods", f"{pods.batch}/jobs", f"{pods.core}/secrets")
        found = await asyncio.gather(*(pods.api.get(kind, labelSelector=selector) for kind in kinds))
        return not any(answer["items"] for answer in found)

    await until(gone, within=30, what="no object of the run")
