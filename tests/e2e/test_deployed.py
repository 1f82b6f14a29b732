"""Towpath inside a cluster.

The tests use the overlay `external`, the image that the Dockerfile makes, and PostgreSQL and RabbitMQ of this
machine, which are outside the cluster.
"""

import asyncio
import json
import os
import secrets
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from devstack.databases import create_database, drop_database, with_database
from devstack.servers import Rabbit
from devstack.settings import ServerSources
from devstack.stack import SERVICES
from shared import VERSION
from shared.kubernetes.client import KubernetesApi, Object
from tests.conftest import fresh_vhost
from tests.harness.backends import KubernetesBackend
from tests.harness.deployment import Deployment, deployed, filled_in, reachable_from_pods, with_node_agent
from tests.harness.git import GitRepository
from tests.harness.github import FakeRepository, push
from tests.harness.installation import GITHUB_SECRET, Towpath, one_job
from tests.harness.kubectl import find_kubectl, kubectl
from tests.harness.kubernetes import JOB_IMAGE, host_for_pods, nodes_for_pods
from tests.harness.waiting import until
from tests.harness.witness import serving

IMAGE = f"towpath:{VERSION}"
BUILDS = "towpath-builds"
POD_SECONDS = 90
"""The time limit for the work of a pod on a busy small machine."""

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes",
        reason="what is deployed brings its own backend: run once, with the local one",
    ),
]


@dataclass(frozen=True)
class Deployed:
    towpath: Towpath
    deployment: Deployment


@pytest.fixture(scope="module")
async def ours(
    kubernetes: KubernetesApi,
    server_url: str,
    server_sources: ServerSources,
    rabbit: Rabbit | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Deployed]:
    """Yield one deployment for all tests of this module. Each test leaves it unchanged."""
    await skip_unless_possible(kubernetes)
    host, name = await host_for_pods(kubernetes), f"test_{secrets.token_hex(5)}"
    await create_database(server_url, name)
    settings = {
        "TOWPATH_ALLOW_LOCAL_CLONE_URLS": "true",
        "TOWPATH_RECONCILE_SECONDS": "2",
        "TOWPATH_GRACE_SECONDS": "2",
        "TOWPATH_KUBERNETES_DEFAULT_IMAGE": JOB_IMAGE,
        "TOWPATH_KUBERNETES_CPU": "20m",
        "TOWPATH_KUBERNETES_MEMORY": "128Mi",
    }
    with fresh_vhost(server_sources, rabbit) as amqp_url:
        async with (
            reachable_from_pods(host, with_database(server_url, name)) as database_url,
            reachable_from_pods(host, amqp_url) as broker_url,
            serving(host) as witness,
            deployed(
                kubernetes, filled_in(tmp_path_factory.mktemp("deploy"), database_url, broker_url, settings)
            ) as deployment,
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True), timeout=aiohttp.ClientTimeout(total=60)
            ) as session,
        ):
            await skip_unless_reached(deployment.url)
            towpath = Towpath(deployment, session, KubernetesBackend(witness, BUILDS, {}))
            towpath.admin = towpath.admin.as_(deployment.token)
            yield Deployed(towpath, deployment)
    await drop_database(server_url, name)


async def skip_unless_possible(api: KubernetesApi) -> None:
    if find_kubectl() is None:
        pytest.skip("kubectl is not installed")
    nodes = (await api.get("/api/v1/nodes"))["items"]
    names = {
        name
        for node in nodes
        for image in node["status"].get("images") or ()
        for name in image.get("names") or ()
    }
    if f"docker.io/library/{IMAGE}" not in names:
        pytest.skip(
            f"the cluster has no image {IMAGE}: `make images ARCHIVE=build/towpath.tar`, then load that "
            "file into it"
        )


async def skip_unless_reached(url: str) -> None:
    try:
        _, writer = await asyncio.wait_for(
            asyncio.open_connection(url.removeprefix("http://"), 80), timeout=10
        )
    except (OSError, TimeoutError, socket.gaierror):
        pytest.skip("this machine is no node of the cluster: it does not reach the gateway's Service")
    writer.close()


async def test_a_signed_webhook_becomes_a_green_run_whose_job_ran_in_the_build_namespace(
    ours: Deployed, tmp_path: Path
) -> None:
    towpath = ours.towpath
    source = GitRepository(tmp_path / "source")
    sha = source.commit({"greeting.txt": "hello from the commit\n"})
    person = await towpath.person()
    repository = await towpath.repository(person, clone_url=towpath.clone_url(source.directory))
    gate = towpath.gate()
    pipeline = await towpath.pipeline(
        person,
        with_checkout(
            one_job(repository, f"while {gate.closed()}; do sleep 0.1; done\ncat greeting.txt\nid -u")
        ),
    )

    await towpath.deliver_push(repository, sha=sha)
    run = await towpath.run_of(pipeline)
    pod = await until(lambda: pod_of(ours, run["id"]), within=POD_SECONDS, what="the job's pod")
    gate.open()
    run = await towpath.finished(run["id"], within=POD_SECONDS, sealed=True)

    assert (run["status"], await towpath.log(run["id"], "only")) == (
        "success",
        b"hello from the commit\n1000\n",
    ), run
    assert pod["spec"]["initContainers"][0]["image"] == IMAGE
    assert pod["spec"]["containers"][0]["image"] == JOB_IMAGE


async def test_a_job_finds_no_credential_and_its_pod_is_restricted(ours: Deployed) -> None:
    towpath = ours.towpath
    person = await towpath.person()
    repository = await towpath.repository(person)
    script = (
        "env\ncat /proc/mounts\nls -la /var/run/secrets /run/secrets 2>&1 || true\nfind / -xdev -name "
        "token 2>/dev/null || true"
    )
    pipeline = await towpath.pipeline(person, one_job(repository, script))

    await towpath.deliver_push(repository)
    run = await towpath.only_run(pipeline, within=POD_SECONDS)

    log = (await towpath.log(run["id"], "only")).decode()
    assert run["status"] == "success"
    assert "TOWPATH_SHA=" in log
    credentials = (
        "serviceaccount",
        "postgresql://",
        "amqp://",
        "TOWPATH_DATABASE",
        ours.deployment.token,
        GITHUB_SECRET,
    )
    assert [trace for trace in credentials if trace in log] == []


@pytest.mark.parametrize(
    ("account", "verb", "resource", "allowed"),
    [
        ("executor", "create", "jobs.batch", True),
        ("executor", "patch", "pods", True),
        ("executor", "list", "secrets", False),
        ("executor", "create", "pods", False),
        ("executor", "create", "pods/exec", False),
        ("executor", "get", "pods/log", True),
        ("logsink", "get", "pods/log", True),
        ("logsink", "get", "secrets", False),
        ("logsink", "delete", "pods", False),
        ("gateway", "get", "pods", False),
        ("scheduler", "list", "jobs.batch", False),
        ("default", "get", "pods", False),
    ],
)
async def test_an_account_may_do_in_the_build_namespace_what_it_needs_and_no_more(
    ours: Deployed, account: str, verb: str, resource: str, allowed: bool
) -> None:
    kind, _, part = resource.partition("/")
    name, _, group = kind.partition(".")
    attributes = {"namespace": BUILDS, "verb": verb, "resource": name, "group": group, "subresource": part}
    review = {"spec": {"user": f"system:serviceaccount:towpath:{account}", "resourceAttributes": attributes}}
    answer = await ours.deployment.api.post("/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    assert answer["status"]["allowed"] is allowed


async def test_the_pods_of_every_service_deleted_in_turn_while_runs_are_going_lose_and_double_nothing(
    ours: Deployed,
) -> None:
    towpath = ours.towpath
    person = await towpath.person()
    repository = await towpath.repository(person)
    oracle, gate = towpath.oracle(), towpath.gate()
    script = (
        f"{oracle.append('$TOWPATH_SHA')}\nwhile {gate.closed()}; do sleep 0.2; done\nfor i in 1 2 3 4 5 6 "
        "7 8 9; do echo line $i; sleep 0.2; done"
    )
    pipeline = await towpath.pipeline(person, one_job(repository, script))
    sent = []

    for service in SERVICES:
        sent += [await accepted(towpath, repository) for _ in range(2)]
        before = {pod["metadata"]["uid"] for pod in await ours.deployment.pods(service)}
        await kubectl(
            "-n", "towpath", "delete", "pod", "-l", f"app.kubernetes.io/name={service}", "--wait=false"
        )
        sent.append(await accepted(towpath, repository))
        await until(
            partial(replaced, ours, service, before),
            within=POD_SECONDS,
            what=f"another {service}",
        )
    gate.open()

    runs = await until(
        lambda: all_over(towpath, pipeline, len(sent)), within=2 * POD_SECONDS, what="the end of every run"
    )
    assert {run["status"] for run in runs} == {"success"}, runs
    assert sorted(oracle.lines) == sorted(sent)
    for run in runs:
        await towpath.finished(run["id"], within=POD_SECONDS, sealed=True)
        assert await towpath.log(run["id"], "only") == b"".join(
            b"line %d\n" % number for number in range(1, 10)
        ), run["id"]


async def test_a_rolling_restart_of_every_service_under_load_answers_no_5xx(ours: Deployed) -> None:
    towpath, answers, over = ours.towpath, list[int](), asyncio.Event()
    person = await towpath.person()
    repository = await towpath.repository(person)

    async def load() -> None:
        while not over.is_set():
            answers.append((await towpath.deliver(push(repository))).status)
            answers.append((await towpath.admin.get("/runs?limit=1")).status)
            await asyncio.sleep(0.05)

    callers = [asyncio.create_task(load()) for _ in range(4)]
    for service in SERVICES:
        await kubectl("-n", "towpath", "rollout", "restart", f"deployment/{service}")
        await kubectl("-n", "towpath", "rollout", "status", f"deployment/{service}", "--timeout=180s")
    await until(ours.deployment.all_ready, within=POD_SECONDS, what="the end of the restart")
    over.set()
    await asyncio.gather(*callers)  # a connection that was refused or cut fails here

    assert len(answers) > 200
    assert set(answers) <= {200, 202}


async def test_with_the_node_agent_a_log_is_read_on_its_node_and_is_exact(ours: Deployed) -> None:
    towpath, deployment = ours.towpath, ours.deployment
    person = await towpath.person()
    repository = await towpath.repository(person)
    pipeline = await towpath.pipeline(
        person, one_job(repository, "for i in $(seq 1 2000); do echo line $i; done")
    )
    try:
        await deployment.apply(with_node_agent(deployment.overlay))
        await until(lambda: agents_run(deployment), within=180, what="an agent on every node that takes jobs")
        await towpath.deliver_push(repository)
        run = await towpath.only_run(pipeline, within=POD_SECONDS)
    finally:
        await deployment.apply(deployment.overlay)
        await kubectl(
            "-n", "towpath", "delete", "daemonset/agent", "--ignore-not-found", "--cascade=foreground"
        )

    assert run["status"] == "success"
    assert await towpath.log(run["id"], "only") == b"".join(
        b"line %d\n" % number for number in range(1, 2001)
    )


def with_checkout(yaml: str) -> str:
    return yaml.replace("    checkout: false\n", "")


async def pod_of(ours: Deployed, run_id: int) -> dict[str, Any] | None:
    found = (
        await ours.deployment.api.get(
            f"/api/v1/namespaces/{BUILDS}/pods", labelSelector=f"towpath.dev/run={run_id}"
        )
    )["items"]
    return found[0] if found else None


async def agents_run(deployment: Deployment) -> bool:
    """Return whether each node that takes jobs has a ready agent.

    Other nodes may never get one: an agent tolerates more than a job, and has resource requests of its own.
    """
    ready = {pod["spec"].get("nodeName") for pod in await deployment.pods("agent") if is_ready(pod)}
    return {node["metadata"]["name"] for node in await nodes_for_pods(deployment.api)} <= ready


def is_ready(pod: Object) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions") or ()
    )


async def accepted(towpath: Towpath, repository: FakeRepository) -> str:
    """Send a push until it is accepted, as a forge's operator does. Return its SHA.

    Each request has the same delivery id, so the push counts once.
    """
    payload, delivery_id = push(repository), secrets.token_hex(16)

    async def once() -> bool:
        try:
            return (await towpath.deliver(json.dumps(payload).encode(), delivery_id=delivery_id)).status in {
                200,
                202,
            }
        except aiohttp.ClientError:
            return False

    await until(once, within=POD_SECONDS, what="an answer to a webhook")
    return str(payload["after"])


async def replaced(ours: Deployed, service: str, before: set[str]) -> bool:
    pods = {pod["metadata"]["uid"] for pod in await ours.deployment.pods(service)}
    return bool(pods) and not pods & before and await ours.deployment.all_ready()


async def all_over(towpath: Towpath, pipeline: dict[str, Any], count: int) -> list[dict[str, Any]] | None:
    try:
        runs = await towpath.runs(pipeline)
    except aiohttp.ClientError:
        return None
    return runs if len(runs) == count and all(run["finished_at"] for run in runs) else None
