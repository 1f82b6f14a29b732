"""Tests of the requests that `tests.chaos.cluster` sends to the API server."""

from pathlib import Path
from typing import Any

from tests.chaos.cluster import Cluster
from tests.fakes.kubernetes_api import accepted, echoed, page, scripted_api


def pod(name: str, phase: str = "Running", **metadata: Any) -> dict[str, Any]:
    owner = [{"kind": "Job", "name": "tp-a-7"}]
    labels = {"towpath.dev/run": "41"}
    return {
        "metadata": {
            "name": name,
            "namespace": "builds",
            "generateName": "tp-",
            "labels": labels,
            "ownerReferences": owner,
            **metadata,
        },
        "status": {"phase": phase},
    }


async def test_only_pods_whose_user_code_may_run_are_chosen_from(tmp_path: Path) -> None:
    async with scripted_api(tmp_path) as (script, api):
        script.lists.append(
            page(
                [
                    pod("c"),
                    pod("b", deletionTimestamp="2026-11-20T10:00:00Z"),
                    pod("d", "Succeeded"),
                    pod("a"),
                    pod("e", "Pending"),
                ]
            )
        )
        assert [one["metadata"]["name"] for one in await Cluster(api, "builds", tmp_path).running()] == [
            "a",
            "c",
        ]


async def test_the_run_of_a_deleted_pod_is_remembered(tmp_path: Path) -> None:
    async with scripted_api(tmp_path) as (script, api):
        script.others.append(accepted({}, 200))
        cluster = Cluster(api, "builds", tmp_path)
        await cluster.delete(pod("a"))
        assert script.asked == ["DELETE /api/v1/namespaces/builds/pods/a"]
        assert cluster.deleted_runs == {41}


async def test_a_second_pod_is_made_from_the_job_and_keeps_its_gate(tmp_path: Path) -> None:
    template = {
        "metadata": {"labels": {"towpath.dev/run": "41"}},
        "spec": {"schedulingGates": [{"name": "towpath.dev/claim"}]},
    }
    async with scripted_api(tmp_path) as (script, api):
        script.others += [accepted({"spec": {"template": template}}, 200), echoed("u")]
        await Cluster(api, "builds", tmp_path).double(pod("a"))
        assert script.asked == [
            "GET /apis/batch/v1/namespaces/builds/jobs/tp-a-7",
            "POST /api/v1/namespaces/builds/pods",
        ]


async def test_what_kubernetes_clears_away_in_time_is_no_leftover(tmp_path: Path) -> None:
    async with scripted_api(tmp_path) as (script, api):
        script.lists += [page([pod("a")]), page([])]
        assert await Cluster(api, "builds", tmp_path).leftovers() == []
