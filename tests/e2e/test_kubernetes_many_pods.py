"""Two thousand pods at once: the memory of the executor, and its requests to the API server.

The executor does not poll.
"""

import asyncio
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest
import yaml

from services.executor.backend import AttemptSpec, Clone
from services.executor.planning import name_of
from shared.kubernetes.client import KubernetesApi
from shared.pipeline.model import Job, Step
from tests.harness.counting import VERBS, Counted
from tests.harness.footprint import connections, memory_bytes
from tests.harness.pods import pod_settings
from tests.harness.scenes import scene
from tests.harness.simulated import Made, all_running, made, none_succeeds, simulated_nodes
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.alone("counts requests"),
    pytest.mark.pods("two thousand pods are watched"),
    pytest.mark.kubernetes,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"
    ),
]

PODS = 2000
QUIET_SECONDS = 15
WATCH_SECONDS = 60
"""The length of a watch, shorter than the default.

The test waits until everything was listed once more, and then measures the quiet time before the next list.
"""
MEMORY_LIMIT_BYTES = 250 << 20
JOB = Job(name="steady", steps=(Step(run="make test"),))
TOKEN = "a token"


@pytest.fixture
async def nodes(kubernetes: KubernetesApi) -> list[str]:
    found = await simulated_nodes(kubernetes)
    if not found:
        pytest.skip("no simulated nodes: none has the label type=kwok (see kwok.sigs.k8s.io)")
    return found


@pytest.mark.timeout(900)
async def test_two_thousand_pods_are_watched_and_not_polled(
    nodes: list[str], counted: Counted, capsys: pytest.CaptureFixture[str]
) -> None:
    stack, kubernetes = counted.towpath.stack, counted.api
    await asyncio.to_thread(stack.stop, "executor")
    run_id = (await (await scene(counted.towpath)).started())["id"]
    for service in ("gateway", "scheduler", "logsink"):
        await asyncio.to_thread(stack.stop, service)
    connection = await asyncpg.connect(stack.database_url)
    try:
        installation, specs = await rows(connection, run_id)
        settings = pod_settings(installation, namespace=counted.namespace)
        async with none_succeeds(kubernetes, settings, specs[0]):
            await claim(connection, counted.namespace, await made(kubernetes, specs, settings, nodes))
            try:
                figures = await measured(counted, connection)
            finally:
                await asyncio.to_thread(stack.stop, "executor")
    finally:
        await connection.close()
    with capsys.disabled():
        print(f"\n{figures}")
    assert figures.memory_bytes <= MEMORY_LIMIT_BYTES
    assert 1 <= figures.watches <= 2
    assert figures.in_quiet["reads"] == 0
    assert figures.in_quiet["writes"] == 0
    assert figures.in_quiet["watches"] <= 2
    assert figures.unfinished == PODS


@dataclass(frozen=True)
class Figures:
    """The measurements of an executor with all the pods. `watches` is the number of open watches."""

    memory_bytes: int
    most_memory_bytes: int
    watches: int
    from_start: Counter[str]
    in_quiet: Counter[str]
    unfinished: int

    def __str__(self) -> str:
        start, quiet = ({kind: asked[kind] for kind in VERBS} for asked in (self.from_start, self.in_quiet))
        return (
            f"{self.unfinished} of {PODS} pods without a verdict: the executor takes "
            f"{self.memory_bytes >> 20} MiB ({self.most_memory_bytes >> 20} MiB at most)"
            f" and {self.watches} watches; asked from its start, with a list of everything each minute: "
            f"{start}; in {QUIET_SECONDS} s of quiet: {quiet}"
        )


async def measured(counted: Counted, connection: Any) -> Figures:
    stack = counted.towpath.stack
    start = await counted.requests()
    await counted.start_executor(TOWPATH_KUBERNETES_WATCH_SECONDS=str(WATCH_SECONDS))
    await until(lambda: all_running(counted.api, counted.namespace), within=100, what=f"{PODS} running pods")
    listed = await lists(counted)

    async def listed_again() -> bool:
        now = await lists(counted)
        return all(now[kind] > listed[kind] for kind in ("jobs", "pods"))

    await until(listed_again, within=WATCH_SECONDS, what="another list of everything")

    process = stack.process("executor")
    assert process is not None
    before = await counted.requests()
    await asyncio.sleep(QUIET_SECONDS)  # the test counts the requests of this time
    asked = await counted.requests() - before
    server = yaml.safe_load(counted.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    watches = connections(process.pid, urlsplit(server).port or 443)
    unfinished = await connection.fetchval("SELECT count(*) FROM attempts WHERE status <> 'finished'")
    return Figures(*memory_bytes(process.pid), watches, before - start, asked, unfinished)


async def lists(counted: Counted) -> Counter[str]:
    """Return how often the executor has listed all Jobs and all pods."""
    async with counted.towpath.session.get(f"{counted.towpath.stack.address('executor')}/metrics") as answer:
        text = await answer.text()
    return Counter(
        {
            kind: int(float(count))
            for kind, count in re.findall(
                r'^towpath_kubernetes_lists_total\{kind="(\w+)"\} (\S+)', text, re.MULTILINE
            )
        }
    )


# ---------------------------------------------------------------- rows as a scheduler and an executor write


async def rows(connection: Any, run_id: int) -> tuple[str, list[AttemptSpec]]:
    """Insert running jobs of this run, with an attempt each.

    Returns the installation's name and the specifications of the attempts. The run's own job is not started.
    """
    await connection.execute("UPDATE jobs SET wanted_attempt = NULL WHERE run_id = $1", run_id)
    found = await connection.fetch(
        """WITH made AS (
             INSERT INTO jobs (run_id, name, position, definition, repository_id, status, wanted_attempt,
                               ready_at, admitted_at, started_at)
             SELECT r.id, 'job-' || n, n, $2::text::jsonb, r.repository_id, 'running', 1,
                    now(), now(), now()
               FROM pipeline_runs r, generate_series(1, $3) n WHERE r.id = $1
             RETURNING id)
           INSERT INTO attempts (job_id, number, cluster, creation_token, status, claimed_at)
           SELECT id, 1, 'local', $4, 'claimed', now() FROM made RETURNING id, job_id""",
        run_id,
        JOB.model_dump_json(),
        PODS,
        TOKEN,
    )
    installation = await connection.fetchval("SELECT name FROM installation")
    return installation, [spec_of(installation, run_id, row["job_id"], row["id"]) for row in found]


def spec_of(installation: str, run_id: int, job_id: int, attempt_id: int) -> AttemptSpec:
    clone = Clone(
        url="https://github.example/octo/web.git",
        sha="a" * 40,
        ref="refs/heads/main",
        merge_sha=None,
        depth=1,
    )
    return AttemptSpec(
        name=name_of(installation, attempt_id),
        attempt_id=attempt_id,
        job_id=job_id,
        run_id=run_id,
        creation_token=TOKEN,
        job=JOB,
        environment={},
        clone=clone,
        trusted=True,
        run_seconds_left=3600,
    )


async def claim(connection: Any, namespace: str, objects: list[Made]) -> None:
    await connection.executemany(
        "UPDATE attempts SET object_uid = $2, pod_uid = $3, log_location = $4, containers = '{clone,job}' "
        "WHERE id = $1",
        [
            (one.attempt_id, one.job_uid, one.pod_uid, f"kubernetes:///{namespace}/{one.pod}/{one.pod_uid}")
            for one in objects
        ],
    )
