"""Each way in which an attempt on a real Kubernetes can end has a reason of its own.

The tests with a full disk and a lost node take minutes and are in tests/e2e.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shared.kubernetes.client import Object
from shared.pipeline.model import Checkout, Ready, Resources, Service, Step
from tests.harness.kubernetes import JOB_IMAGE, SERVICE_IMAGE
from tests.harness.waiting import until
from tests.integration.executor.kubernetes_world import Hand, Remote, cancel, claimed, ready, running
from tests.integration.executor.world import World

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(240)]

_EAT = "python3 -c 'x = [b\"y\" * (1 << 20) for _ in range(4096)]'"
_SMALL = Resources(memory_bytes=48 << 20)
CGROUPS_2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
"""True if this machine, as a node of the cluster, uses control groups version 2."""


async def verdict_of(
    world: World, remote: Remote, script: str = ":", within: float = 60, **fields: Any
) -> Any:
    wanted = await world.job(script, **fields)
    await remote.consumers.on_messages([ready(wanted)])
    return await judged(world, wanted, within)


async def judged(world: World, wanted: tuple[int, int], within: float = 60) -> Any:
    async def check() -> Any:
        attempt = await world.attempt(wanted)
        return attempt if attempt["status"] == "finished" else None

    return await until(check, within=within, what="a verdict")


def word(attempt: Any) -> tuple[str, str | None]:
    return attempt["outcome"], attempt["reason"]


# ---------------------------------------------------------------- time


async def test_a_step_over_its_limit(world: World, remote: Remote) -> None:
    attempt = await verdict_of(world, remote, steps=(Step(name="slow", run="sleep 600", timeout_seconds=1),))
    assert word(attempt) == ("failed", "timed_out")
    assert attempt["message"] == 'The step "slow" ran longer than its limit.'


async def test_a_job_over_its_limit(world: World, remote: Remote) -> None:
    attempt = await verdict_of(world, remote, "sleep 600", timeout_seconds=1)
    assert word(attempt) == ("failed", "timed_out")
    assert attempt["message"] == "The job ran longer than its limit of 1s."


# ---------------------------------------------------------------- memory


async def test_a_job_that_uses_too_much_memory(world: World, remote: Remote) -> None:
    attempt = await verdict_of(world, remote, f"exec {_EAT}", resources=_SMALL)
    assert word(attempt) == ("failed", "oom_killed")


async def test_a_child_that_uses_too_much_memory(world: World, remote: Remote) -> None:
    attempt = await verdict_of(world, remote, f"{_EAT} || exit 9", resources=_SMALL)
    assert word(attempt) == ("failed", "oom_killed")


async def test_a_job_that_outlives_a_child_without_memory(world: World, remote: Remote) -> None:
    """The job's exit code is the verdict.

    With control groups version 2 the whole container is killed with the child, so nothing outlives it.
    """
    attempt = await verdict_of(world, remote, f"{_EAT} || echo never mind", resources=_SMALL)
    assert word(attempt) == (("failed", "oom_killed") if CGROUPS_2 else ("success", None))


async def test_a_service_that_uses_too_much_memory(world: World, hand: Hand) -> None:
    services = {"db": Service(image=SERVICE_IMAGE, env={"RUN": f"sleep 1; {_EAT}"})}
    gate = hand.witness.gate()
    async with running(world, kubernetes_memory=48 << 20) as remote:
        wanted = await world.job(
            f"while {gate.closed()}; do sleep 0.2; done; exit 5",
            services=services,
            resources=Resources(memory_bytes=128 << 20),
        )
        await remote.consumers.on_messages([ready(wanted)])
        await hand.until_pod(wanted, "the service's end, known to the cluster", service_has_ended)
        gate.open()
        attempt = await judged(world, wanted)
    assert word(attempt) == ("failed", "oom_killed")
    assert '"db"' in attempt["message"]


def service_has_ended(pod: Object) -> bool:
    states = [
        state
        for status in pod["status"].get("initContainerStatuses") or ()
        for state in (status.get("state", {}), status.get("lastState", {}))
    ]
    return any("terminated" in state for state in states)


# ---------------------------------------------------------------- images


@asynccontextmanager
async def registry(status: int) -> AsyncIterator[str]:
    """Run a registry on this machine that answers every request with this status. Yield an image in it.

    Nodes reach the registry only if they are this machine.
    """

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"errors": [{"code": "UNKNOWN"}]}, status=status)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"localhost:{runner.addresses[0][1]}/team/image:1"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("status", "reason"), [(404, "image_missing"), (401, "image_auth"), (403, "image_auth")]
)
async def test_an_image_that_can_not_be_pulled(
    world: World, remote: Remote, status: int, reason: str
) -> None:
    async with registry(status) as image:
        attempt = await verdict_of(world, remote, image=image, within=40)
    assert word(attempt) == ("error", reason)


async def test_a_registry_that_fails_is_tried_for_a_while(world: World, hand: Hand) -> None:
    async with (
        registry(500) as image,
        running(world, check_every_seconds=1, kubernetes_image_pull_seconds=5) as remote,
    ):
        attempt = await verdict_of(world, remote, image=image, within=60)
    assert word(attempt) == ("error", "image_registry")


# ---------------------------------------------------------------- before it begins


async def test_a_job_that_fits_no_node(world: World, hand: Hand) -> None:
    async with running(world, check_every_seconds=1, kubernetes_unscheduled_seconds=3) as remote:
        wanted = await world.job(resources=Resources(cpu_millis=200_000))
        await remote.consumers.on_messages([ready(wanted)])

        async def waits() -> bool:
            return bool((await world.attempt(wanted))["waiting_for"] == "node")

        await until(waits, within=20, what="waiting for a node")
        attempt = await judged(world, wanted)
    assert word(attempt) == ("error", "unschedulable")
    assert "Insufficient cpu" in attempt["message"]


async def test_a_job_whose_volume_never_comes(world: World, hand: Hand) -> None:
    wanted = await world.job()
    async with running(world) as remote:  # a check of a row that is `creating` creates the Secret again
        spec = await world.inserted(wanted)
        made = await remote.cluster.create(spec)
        await hand.api.delete(f"/api/v1/namespaces/{hand.namespace}/secrets/{spec.name}")
        async with world.store.transaction() as work:
            await work.note_created([made])
    async with running(world, check_every_seconds=1, kubernetes_start_seconds=3):
        attempt = await judged(world, wanted)
    assert word(attempt) == ("error", "start_timed_out")


async def test_a_quota_is_waited_for(world: World, hand: Hand) -> None:
    quota = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    await hand.api.post(f"/api/v1/namespaces/{hand.namespace}/resourcequotas", quota)
    async with running(world, check_every_seconds=1) as remote:
        wanted, given_up = await world.job(), await world.job()
        await remote.consumers.on_messages([ready(wanted)])

        async def waits() -> bool:
            return bool((await world.attempt(wanted))["waiting_for"] == "quota")

        await until(waits, within=30, what="waiting for the quota")
        await hand.delete(f"/api/v1/namespaces/{hand.namespace}/resourcequotas/full")
        assert word(await judged(world, wanted, within=90)) == ("success", None)
        assert (await world.attempt(wanted))["waiting_for"] is None
        assert given_up


async def test_a_quota_is_not_waited_for_for_ever(world: World, hand: Hand) -> None:
    quota = {"metadata": {"name": "full"}, "spec": {"hard": {"pods": "0"}}}
    await hand.api.post(f"/api/v1/namespaces/{hand.namespace}/resourcequotas", quota)
    async with running(world, check_every_seconds=1, kubernetes_quota_seconds=6, start_seconds=3) as remote:
        attempt = await verdict_of(world, remote, within=60)
    assert word(attempt) == ("error", "quota")
    assert "exceeded quota" in attempt["message"]


async def test_what_the_namespace_does_not_allow(world: World, hand: Hand) -> None:
    limits = {
        "metadata": {"name": "tiny"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "16Mi"}}]},
    }
    await hand.api.post(f"/api/v1/namespaces/{hand.namespace}/limitranges", limits)
    async with running(world, check_every_seconds=1) as remote:
        attempt = await verdict_of(world, remote, within=60)
    assert word(attempt) == ("error", "config_invalid")
    assert "maximum memory usage" in attempt["message"]


async def test_a_clone_that_fails(world: World, remote: Remote) -> None:
    attempt = await verdict_of(world, remote, checkout=Checkout(), within=60)
    assert word(attempt) == ("error", "clone_failed")
    assert attempt["containers"] == ["clone", "job"]


async def test_a_service_that_ends_before_it_is_ready(world: World, hand: Hand, remote: Remote) -> None:
    services = {"db": Service(image=SERVICE_IMAGE, env={"RUN": "exit 3"}, ready=Ready(tcp=9))}
    attempt = await verdict_of(world, remote, services=services, within=60)
    assert word(attempt) == ("failed", "service_failed")


async def test_a_service_that_is_never_ready(world: World, hand: Hand, remote: Remote) -> None:
    services = {
        "db": Service(image=SERVICE_IMAGE, env={"RUN": "sleep 600"}, ready=Ready(tcp=9, within_seconds=2))
    }
    attempt = await verdict_of(world, remote, services=services, within=60)
    assert word(attempt) == ("failed", "service_failed")


# ---------------------------------------------------------------- taken away


async def running_job(
    world: World, hand: Hand, remote: Remote, script: str = "sleep 600"
) -> tuple[tuple[int, int], str]:
    """Start a job and wait for its user code. Return the job and the name of its pod."""
    oracle = hand.witness.oracle()
    wanted = await world.job(f"{oracle.append('x')}; {script}")
    await remote.consumers.on_messages([ready(wanted)])
    await hand.said(oracle)
    return wanted, (await hand.pod(wanted))["metadata"]["name"]


@pytest.mark.parametrize("script", ["sleep 600", "trap 'exit 0' TERM; while :; do sleep 0.05; done"])
async def test_a_pod_that_was_deleted_by_hand(world: World, hand: Hand, remote: Remote, script: str) -> None:
    wanted, pod = await running_job(world, hand, remote, script)
    await hand.delete(f"{hand.pods_path}/{pod}")
    assert word(await judged(world, wanted)) == ("error", "lost")


async def test_a_job_that_was_deleted_by_hand(world: World, hand: Hand, remote: Remote) -> None:
    wanted, _ = await running_job(world, hand, remote)
    await hand.delete(f"{hand.jobs_path}/{world.name((await world.attempt(wanted))['id'])}")
    assert word(await judged(world, wanted)) == ("error", "lost")


async def test_a_pod_that_went_while_no_executor_was_there(world: World, hand: Hand) -> None:
    async with running(world) as first:
        wanted, pod = await running_job(world, hand, first)
    await hand.delete(f"{hand.pods_path}/{pod}", gracePeriodSeconds=0)
    await until(lambda: hand.is_gone(f"{hand.pods_path}/{pod}"), within=60, what="the pod goes")
    async with running(world, check_every_seconds=1):
        assert word(await judged(world, wanted)) == ("error", "lost")


async def test_an_eviction(world: World, hand: Hand, remote: Remote) -> None:
    wanted, pod = await running_job(world, hand, remote)
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": hand.namespace},
    }
    await hand.api.post(f"{hand.pods_path}/{pod}/eviction", eviction)
    assert word(await judged(world, wanted)) == ("error", "evicted")


async def test_a_pod_that_gives_way_to_a_more_important_one(world: World, hand: Hand, remote: Remote) -> None:
    name = f"{hand.namespace}-first"
    await hand.api.post(
        "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": name}, "value": 1000}
    )
    try:
        wanted, _ = await running_job(world, hand, remote)
        await hand.api.post(hand.pods_path, alone_on_its_node(name))
        assert word(await judged(world, wanted)) == ("error", "preempted")
    finally:
        await hand.delete(f"/apis/scheduling.k8s.io/v1/priorityclasses/{name}")


def alone_on_its_node(priority: str) -> Object:
    """Return a pod that does not share its node with an attempt."""
    others = {
        "labelSelector": {"matchExpressions": [{"key": "towpath.dev/attempt", "operator": "Exists"}]},
        "topologyKey": "kubernetes.io/hostname",
    }
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    spec = {
        "priorityClassName": priority,
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [others]}},
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [
            {
                "name": "first",
                "image": JOB_IMAGE,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sleep", "600"],
                "securityContext": security,
            }
        ],
    }
    return {"metadata": {"name": "first"}, "spec": spec}


async def test_a_pod_without_a_node_is_cancelled_before_it_runs(
    world: World, hand: Hand, remote: Remote
) -> None:
    wanted = await world.job(resources=Resources(cpu_millis=200_000))
    await remote.consumers.on_messages([ready(wanted)])
    await claimed(world, wanted)
    await world.request_stop(wanted)
    await remote.consumers.on_messages([cancel(wanted)])
    assert word(await judged(world, wanted)) == ("cancelled", "cancelled_by_user")
