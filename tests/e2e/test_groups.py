"""Concurrency groups with real jobs: two attempts of a group of one never run at once.

This holds even if scripts ignore SIGTERM and runs are cancelled or killed. Each script writes a line when it
begins and when it ends. These lines have to alternate.
"""

import asyncio

import pytest

from tests.harness.installation import Towpath
from tests.harness.oracle import Oracle
from tests.harness.scenes import Document, Scene, document, job, scene
from tests.harness.waiting import until

pytestmark = pytest.mark.pods("a place in a group is free once the pod is gone")

GROUP = {"group": "${{ event.repository }}:${{ event.pull_request || event.ref }}", "limit": 1}
DEAF = "trap '' TERM; i=0; while [ $i -lt 300 ]; do i=$((i + 1)); sleep 0.1; done"
"""A script that ignores SIGTERM for half a minute."""


async def grouped(towpath: Towpath, on_new: str, script: str) -> tuple[Scene, Oracle]:
    """Create a scene whose pipeline is in a group.

    The scripts write `begin <sha>` and `end <sha>` to the oracle.
    """
    base, oracle = await scene(towpath), towpath.oracle()
    jobs = {
        "only": job(f"{oracle.append('begin $TOWPATH_SHA')}\n{script}\n{oracle.append('end $TOWPATH_SHA')}")
    }
    text = document(base.repository.full_name, jobs, concurrency=GROUP | {"on_new": on_new})
    (await base.person.client.put(f"/pipelines/{base.pipeline['id']}", {"yaml_config": text})).expect(200)
    return base, oracle


async def ended(one: Scene, run: Document) -> tuple[str, str | None]:
    found = await one.towpath.finished(run["id"], within=60)
    return found["status"], found["reason"]


async def begun(oracle: Oracle, run: Document) -> None:
    async def found() -> bool:
        return f"begin {run['sha']}" in oracle.lines

    await until(found, within=30, what=f"user code of run {run['id']}")


async def test_f66_runs_of_a_group_of_one_come_one_after_the_other(towpath: Towpath) -> None:
    one, oracle = await grouped(towpath, "queue", "sleep 0.3")
    runs = [await one.started() for _ in range(4)]
    assert [await ended(one, run) for run in runs] == [("success", None)] * 4
    assert oracle.lines == [f"{what} {run['sha']}" for run in runs for what in ("begin", "end")]


async def test_f66_a_newer_run_waits_for_an_older_one_that_ignores_sigterm(towpath: Towpath) -> None:
    """The older run is killed after its grace period. Only then does the newer run begin."""
    one, oracle = await grouped(towpath, "cancel_older", DEAF)
    older = await one.started()
    await begun(oracle, older)
    newer = await one.started()
    waiting = await one.run(newer["id"])
    assert (waiting["jobs"][0]["waiting_for"], waiting["jobs"][0]["place"]) == ("group", 0)
    await begun(oracle, newer)
    first, second = await one.run(older["id"]), await one.run(newer["id"])
    assert (first["status"], first["reason"]) == ("cancelled", "superseded")
    assert [change["cause"] for change in first["transitions"] if change["to_status"] == "cancelled"] == [
        f"run:{newer['id']}"
    ] * 2
    assert first["jobs"][0]["attempts"][0]["finished_at"] <= second["jobs"][0]["attempts"][0]["claimed_at"]
    assert second["concurrency"]["group"] == f"{one.repository.full_name}:refs/heads/main"
    await one.towpath.admin.post(f"/runs/{newer['id']}/cancel", {})
    assert await ended(one, newer) == ("cancelled", "cancelled_by_user")
    assert oracle.lines == [f"begin {older['sha']}", f"begin {newer['sha']}"]


async def test_f66_many_pushes_at_once_leave_the_newest_and_never_two(towpath: Towpath) -> None:
    one, oracle = await grouped(towpath, "cancel_older", "sleep 0.5")
    runs = await asyncio.gather(*(one.started() for _ in range(8)))
    ends = {run["id"]: await ended(one, run) for run in runs}
    newest = runs[-1]  # by the forge's clock; its run may have been created before others
    assert ends.pop(newest["id"]) == ("success", None)
    assert set(ends.values()) <= {("cancelled", "superseded"), ("success", None)}
    assert oracle.lines[-2:] == [f"begin {newest['sha']}", f"end {newest['sha']}"]


async def test_a06_tags_and_a_branch_named_like_a_pull_request_go_on(towpath: Towpath) -> None:
    on: Document = {"push": {}, "pull_request": {}}
    one = await scene(towpath, {"only": job("sleep 1")}, on, concurrency=GROUP | {"on_new": "cancel_older"})
    pushes = [await one.push(ref=f"refs/{ref}") for ref in ("tags/v1.0.1", "tags/v2.3.0", "heads/12")]
    deliveries = [*pushes, await one.pull_request(number=12)]
    run_ids = [(await one.decision(delivery))["run_id"] for delivery in deliveries]
    runs = [await towpath.finished(run_id, within=60) for run_id in run_ids]
    assert [(run["status"], run["reason"]) for run in runs] == [("success", None)] * 4


@pytest.mark.parametrize(
    ("on_new", "second", "third"),
    [("keep_latest_pending", "superseded", None), ("reject", "rejected", "rejected")],
)
async def test_f66_what_is_under_way_goes_on(
    towpath: Towpath, on_new: str, second: str | None, third: str | None
) -> None:
    one, oracle = await grouped(towpath, on_new, "sleep 3")
    first = await one.started()
    await begun(oracle, first)
    others = [await one.started(), await one.started()]
    reasons = [(await ended(one, run))[1] for run in (first, *others)]
    assert reasons == [None, second, third]
