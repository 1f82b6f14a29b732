"""What an attempt costs the API server, counted by the API server itself: at most four writes, and nothing that grows with time."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from shared.kubernetes import KubernetesApi
from tests.conftest import Template, fresh_database, fresh_vhost
from tests.e2e.conftest import installation
from tests.harness.access import identity
from tests.harness.backends import KubernetesBackend
from tests.harness.installation import Towpath
from tests.harness.kubernetes import kubeconfig
from tests.harness.scenes import job, scene
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.skipif(os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"),
]

RUNS = 10
QUIET_SECONDS = 15
VERBS = {"writes": ["create", "update", "patch", "delete", "deletecollection"], "reads": ["get", "list"], "watches": ["watch"]}
_COUNT = re.compile(r'apiserver_flowcontrol_dispatched_requests_total\{flow_schema="([^"]+)",[^}]*\} ([0-9.e+]+)')


@asynccontextmanager
async def counted(api: KubernetesApi, namespace: str) -> AsyncIterator[None]:
    """The API server counts requests by flow schema: one for each kind of verb of the namespace's service account."""
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


async def requests(api: KubernetesApi, namespace: str) -> Counter[str]:
    """Those of the namespace's executor so far, by kind."""
    async with api.stream("/metrics", idle_seconds=30) as chunks:
        text = b"".join([chunk async for chunk in chunks]).decode()
    found: Counter[str] = Counter()
    for schema, count in _COUNT.findall(text):
        if schema.startswith(f"{namespace}-"):
            found[schema.removeprefix(f"{namespace}-")] += round(float(count))
    return found


@pytest.fixture
async def own(template: Template, kubernetes: KubernetesApi, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Towpath, str]]:
    """An installation whose executor is a service account with no more than its deployed rights, and that account's namespace."""
    sources, rabbit = request.getfixturevalue("server_sources"), request.getfixturevalue("rabbit")
    admin = kubeconfig()
    assert admin is not None
    with fresh_vhost(sources, rabbit) as amqp_url:
        async with fresh_database(template) as database_url, installation(database_url, amqp_url) as towpath:
            assert isinstance(towpath.backend, KubernetesBackend)
            namespace = towpath.backend.namespace
            own = tmp_path / "kubeconfig"
            own.write_text(await identity(kubernetes, namespace, "executor", admin.read_text()))
            async with counted(kubernetes, namespace):
                await asyncio.to_thread(towpath.stack.stop, "executor")
                await asyncio.to_thread(towpath.stack.start, "executor", 1, {"TOWPATH_KUBECONFIG": str(own)})
                await asyncio.to_thread(towpath.stack.wait_ready, "executor")
                yield towpath, namespace


async def test_a_good_attempt_costs_four_writes_and_waiting_costs_nothing(own: tuple[Towpath, str], kubernetes: KubernetesApi) -> None:
    towpath, namespace = own
    one = await scene(towpath, {"only": job("echo done")})
    watches = await until(lambda: requests(kubernetes, namespace), within=20, what="the executor's first requests")
    before = await requests(kubernetes, namespace)

    runs = await asyncio.gather(*(one.ran() for _ in range(RUNS)))
    assert [run["status"] for run in runs] == ["success"] * RUNS

    async def removed() -> bool:
        jobs = await kubernetes.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")
        return not jobs["items"]

    await until(removed, within=30, what="the end of all Jobs")
    spent = await requests(kubernetes, namespace) - before
    print(f"{RUNS} attempts: {dict(spent)}; watches opened: {watches['watches']}")
    assert spent["writes"] <= 4 * RUNS
    assert spent["reads"] <= 2 * RUNS

    waiting = await scene(towpath, {"only": job(f"sleep {QUIET_SECONDS + 10}")})
    run = await waiting.started()

    async def running() -> bool:
        return bool((await waiting.run(run["id"]))["status"] == "running")

    await until(running, within=20, what="a running job")
    await asyncio.sleep(2)
    before = await requests(kubernetes, namespace)
    await asyncio.sleep(QUIET_SECONDS)  # how much is asked in a while is what the test is about
    asked = await requests(kubernetes, namespace) - before
    assert asked["writes"] == 0
    assert asked["reads"] == 0
    assert asked["watches"] <= 2
