"""The ends of jobs on a real Kubernetes: by their script, by their services, or by a stop."""

import asyncio
import os

import pytest

from tests.harness.kubernetes import SERVICE_IMAGE
from tests.harness.pod_jobs import Pods, end
from tests.harness.scenes import Document, Scene, job, jobs_of
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.pods("each end that only a cluster causes"),
    pytest.mark.kubernetes,
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"
    ),
]

HOG = 'python3 -c "b = bytearray(400 << 20); print(len(b))"'
LIMITS = {"TOWPATH_KUBERNETES_START_SECONDS": "40", "TOWPATH_KUBERNETES_ALLOW_ROOT": "never"}


# ---------------------------------------------------------------- the user's code


async def test_success_and_a_script_that_failed(pods: Pods) -> None:
    good, bad = await pods.one(job("echo fine")), await pods.one(job("exit 3"))
    assert end(await good.ran()) == ("success", None)
    run = await bad.ran()
    assert end(run) == ("failed", "script_failed")
    assert jobs_of(run)["only"]["attempts"][0]["exit_code"] == 3


async def test_a_step_and_a_job_over_their_time(pods: Pods) -> None:
    step = await pods.one(
        {"checkout": False, "steps": [{"name": "slow", "run": "sleep 60", "timeout": "1s"}]}
    )
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
    script = (
        'id -u; python3 -m venv v; . v/bin/activate; python -c "print(6 * 7)"; echo x > "$HOME/mine"; git '
        'init -q r; ls "$HOME"'
    )
    run = await (await pods.one(job(script))).ran()
    assert end(run) == ("success", None)
    assert await pods.towpath.log(run["id"], "only") == b"1000\n42\nmine\n"


# ---------------------------------------------------------------- services


async def test_a_service_is_reachable_by_its_name_once_it_is_ready(pods: Pods) -> None:
    serving = {
        "image": SERVICE_IMAGE,
        "env": {"RUN": "cd /tmp; echo hello > index.html; exec python3 -m http.server 8000"},
        "ready": {"tcp": 8000},
    }
    run = await (await pods.one(job("curl -fsS http://web:8000/index.html", services={"web": serving}))).ran()
    assert end(run) == ("success", None)
    assert await pods.towpath.log(run["id"], "only") == b"hello\n"


async def test_a_service_that_never_gets_ready(pods: Pods) -> None:
    silent = {"image": SERVICE_IMAGE, "env": {"RUN": "sleep 600"}, "ready": {"tcp": 8000, "within": "3s"}}
    run = await (await pods.one(job("true", services={"web": silent}))).ran()
    assert end(run) == ("failed", "service_failed")
    assert "web" in jobs_of(run)["only"]["message"]


async def test_a_service_out_of_memory(pods: Pods) -> None:
    """The job fails because its service is gone. The reason is the service's."""
    hungry = {"image": SERVICE_IMAGE, "env": {"RUN": f"sleep 2; {HOG}"}}
    run = await (await pods.one(job("sleep 10; exit 1", services={"db": hungry}))).ran()
    assert end(run) == ("failed", "oom_killed")
    assert "db" in jobs_of(run)["only"]["message"]


async def test_a_service_that_takes_longer_than_starts_may(pods: Pods) -> None:
    slow = {"image": SERVICE_IMAGE, "env": {"RUN": "sleep 600"}, "ready": {"tcp": 8000, "within": "10m"}}
    run = await (await pods.one(job("true", services={"db": slow}))).ran()
    assert end(run) == ("error", "start_timed_out")


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
    one = await pods.one(
        job(
            "trap 'echo last words; exit 0' TERM; echo begun; i=0; while [ $i -lt 600 ]; do sleep 0.1; "
            "i=$((i + 1)); done"
        )
    )
    run = await one.started()
    await pods.begun(run)
    await cancel(one, run)
    assert end(await pods.towpath.finished(run["id"], sealed=True)) == ("cancelled", "cancelled_by_user")
    log = await pods.towpath.log(run["id"], "only")
    assert (
        log.replace(b"Terminated\n", b"") == b"begun\nlast words\n"
    )  # the shell's message about the sleep that was ended


async def test_user_code_finds_no_credential(pods: Pods) -> None:
    checks = [
        "env | sort",
        "cat /proc/self/mounts",
        "ls -la /var/run/secrets/kubernetes.io/serviceaccount 2>&1 || true",
        "ls -laR /towpath /towpath-driver",
    ]
    one = await pods.one(job("; ".join([*checks, "ls /towpath-clone 2>&1 || true"])))
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
