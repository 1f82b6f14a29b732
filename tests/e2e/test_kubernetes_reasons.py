"""Errors of jobs on a real Kubernetes. Each is caused for real and has a reason of its own."""

import asyncio
import os
from pathlib import Path

import pytest

from tests.harness.git import GitRepository
from tests.harness.github import new_sha
from tests.harness.pod_jobs import Pods, end
from tests.harness.registry import registry
from tests.harness.scenes import job, jobs_of, scene
from tests.harness.waiting import until

pytestmark = [
    pytest.mark.pods("each reason that only a cluster gives"),
    pytest.mark.kubernetes,
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") != "kubernetes", reason="needs pods: make e2e-kubernetes"
    ),
]

FILL = "dd if=/dev/zero of=/towpath/workspace/big bs=1M count=250 2>/dev/null"
LIMITS = {"TOWPATH_KUBERNETES_EPHEMERAL_STORAGE": "100Mi"}


async def test_evicted_for_its_use_of_the_disk(pods: Pods) -> None:
    """The reason is the same if the script ends by itself on SIGTERM and if it does not.

    Kubelets check disks only from time to time, so both runs wait for that at once.
    """
    wait = "echo begun; i=0; while [ $i -lt 900 ]; do sleep 0.1; i=$((i + 1)); done"
    scenes = [await pods.one(job(f"{trap}{FILL}; {wait}")) for trap in ("trap 'exit 1' TERM; ", "")]
    for run in await asyncio.gather(*(one.ran(within=120) for one in scenes)):
        assert end(run) == ("error", "evicted")
        assert "ephemeral" in jobs_of(run)["only"]["message"]


WITHOUT = [("missing", "image_missing"), ("private", "image_auth"), ("broken", "image_registry")]


@pytest.mark.parametrize(("kind", "reason"), WITHOUT)
async def test_an_image_that_can_not_be_had(pods: Pods, kind: str, reason: str) -> None:
    async with registry() as images:
        run = await (await pods.one(job("true", image=images.image(kind)))).ran()
    assert end(run) == ("error", reason)
    assert images.image(kind) in jobs_of(run)["only"]["message"]


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
    limit = {
        "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]},
    }
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
    one = await scene(
        pods.towpath,
        {"only": {"steps": [{"run": "true"}]}},
        clone_url=pods.towpath.clone_url(repository.directory),
    )
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
