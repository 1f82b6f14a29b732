"""Pull requests from forks: to their verdict on Kubernetes, and their refusal on this machine."""

import os

import pytest

from tests.harness.coverage import covers
from tests.harness.installation import Towpath
from tests.harness.scenes import TRUE, Document, job, scene, verdict

HAS_PODS = os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes"
LATER = "2026-11-20T11:00:00Z"
ON: Document = {"pull_request": {}}


@pytest.mark.skipif(HAS_PODS, reason="this is about the local cluster")
@pytest.mark.parametrize("forks", ["approve", "run"])
async def test_the_local_cluster_refuses_forks_with_a_decision_that_says_so(
    towpath: Towpath, forks: str
) -> None:
    one = await scene(towpath, on={"pull_request": {"forks": forks}})
    decision = await one.decision(await one.pull_request(fork=True))
    assert verdict(decision) == ("untrusted", "local_cluster")
    assert "local cluster" in decision["reasons"][0]["text"]
    assert await towpath.runs(one.pipeline) == []


@covers("POST /runs/{id}/approve 409")
async def test_a_trusted_run_needs_no_approval(towpath: Towpath) -> None:
    one = await scene(towpath, TRUE)
    run = await one.ran()
    assert (run["trusted"], run["approval"]) == (True, None)
    problem = (await one.person.client.post(f"/runs/{run['id']}/approve")).expect(409).json
    assert problem["type"].endswith("approval_not_needed")


@pytest.mark.pods("only pods run code of forks")
@pytest.mark.skipif(not HAS_PODS, reason="needs pods: make e2e-kubernetes")
@covers("POST /runs/{id}/approve 200")
async def test_a_fork_waits_runs_after_its_approval_and_a_newer_push_waits_again(towpath: Towpath) -> None:
    script = 'echo "trusted: $TOWPATH_TRUSTED"; test "$TOWPATH_TRUSTED" = false'
    one = await scene(towpath, {"only": job(script)}, on=ON)
    decision = await one.decision(await one.pull_request(fork=True))
    assert [reason["code"] for reason in decision["reasons"]] == ["matched", "fork_approval"]
    run = await one.run(decision["run_id"])
    assert (run["trusted"], run["approval"]["state"]) == (False, "waiting")
    assert [found["waiting_for"] for found in run["jobs"]] == ["approval"]
    approved = (await one.person.client.post(f"/runs/{run['id']}/approve")).expect(200).json
    assert (approved["approval"]["state"], approved["approval"]["approved_by"]) == ("approved", one.person.id)
    assert (await towpath.finished(run["id"], within=120))["status"] == "success"
    newer = await one.decision(await one.pull_request(fork=True, action="synchronize", updated_at=LATER))
    again = await one.run(newer["run_id"])
    assert again["approval"]["state"] == "waiting"
    newest = await one.decision(await one.pull_request(fork=True, action="synchronize", updated_at=LATER))
    assert newest["run_id"] is not None
    problem = (await one.person.client.post(f"/runs/{again['id']}/approve")).expect(409).json
    assert problem["type"].endswith("approval_void")
