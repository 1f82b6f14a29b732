"""The requests of an attempt, counted by the API server itself.

An attempt makes at most four writes, and the number of requests does not grow with time.
"""

import asyncio
import os

import pytest

from shared.kubernetes.client import KubernetesApi
from tests.harness.counting import Counted
from tests.harness.scenes import job, scene
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.alone("counts requests"),
    pytest.mark.pods("requests to the API server are counted"),
    pytest.mark.kubernetes,
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"
    ),
]

RUNS = 10
QUIET_SECONDS = 15


async def test_a_good_attempt_costs_four_writes_and_waiting_costs_nothing(
    counted: Counted, kubernetes: KubernetesApi
) -> None:
    towpath, namespace = counted.towpath, counted.namespace
    one = await scene(towpath, {"only": job("echo done")})
    watches = await until(counted.requests, within=20, what="the executor's first requests")
    before = await counted.requests()

    runs = await asyncio.gather(*(one.ran() for _ in range(RUNS)))
    assert [run["status"] for run in runs] == ["success"] * RUNS

    async def removed() -> bool:
        jobs = await kubernetes.get(f"/apis/batch/v1/namespaces/{namespace}/jobs")
        return not jobs["items"]

    await until(removed, within=30, what="the end of all Jobs")
    spent = await counted.requests() - before
    print(f"{RUNS} attempts: {dict(spent)}; watches opened: {watches['watches']}")
    assert spent["writes"] <= 4 * RUNS
    assert spent["reads"] <= 2 * RUNS

    waiting = await scene(towpath, {"only": job(f"sleep {QUIET_SECONDS + 10}")})
    run = await waiting.started()

    async def running() -> bool:
        return bool((await waiting.run(run["id"]))["status"] == "running")

    await until(running, within=20, what="a running job")
    await asyncio.sleep(2)
    before = await counted.requests()
    await asyncio.sleep(QUIET_SECONDS)  # the test counts the requests of this time
    asked = await counted.requests() - before
    assert asked["writes"] == 0
    assert asked["reads"] == 0
    assert asked["watches"] <= 2
