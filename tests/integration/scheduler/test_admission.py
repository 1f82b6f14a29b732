"""Slots never exceed the limits, are shared fairly, and are freed when the attempt is over."""

import asyncio
from typing import Any

import pytest

from services.scheduler.store import open_store
from shared.errors import Transient
from tests.harness.github import FakeRepository, push
from tests.integration.scheduler.test_queries import QUERIES
from tests.integration.scheduler.world import ONE_JOB, Scheduler, World


async def waiting(world: World, counts: dict[str, int]) -> None:
    """Create this many waiting jobs in each repository. Those of the first repository wait the longest."""
    for name, count in counts.items():
        await world.repository(name)
        await world.pipeline(ONE_JOB.replace("octo/web", name))
        repository = FakeRepository(name)
        await world.decide(*[await world.delivery(push(repository)) for _ in range(count)])


async def in_slots(world: World) -> dict[str, int]:
    return dict(
        await world.rows(
            "SELECT r.full_name, count(*) FROM jobs j JOIN repositories r ON r.id = j.repository_id"
            " WHERE j.admitted_at IS NOT NULL AND j.slot_freed_at IS NULL GROUP BY 1"
        )
    )


def limited(world: World, over_all: int, of_repository: int) -> Scheduler:
    return world.another_scheduler(over_all=over_all, of_repository=of_repository)


async def test_an_admitted_job_is_announced_to_its_cluster(world: World) -> None:
    await waiting(world, {"octo/web": 1})
    assert await world.admission.admit() == 1
    (ready,) = await world.sent("attempt.ready")
    job = (await world.jobs())["build"]
    assert (ready.cluster, ready.jobs) == ("local", ((job["id"], 1),))
    assert (job["status"], job["waiting_for"]) == ("pending", None)


async def register(world: World, **clusters: dict[str, str]) -> None:
    """Register clusters with their labels, as executors do. The ones named `old_…` were not seen for long."""
    for name, labels in clusters.items():
        await world.sql.execute(
            "INSERT INTO clusters (name, labels, seen_at) VALUES ($1, $2, now() - $3 * interval '1 minute')",
            name.replace("_", "-"),
            labels,
            60 if name.startswith("old_") else 0,
        )


async def wanting(world: World, labels: str) -> None:
    await world.repository()
    await world.pipeline(ONE_JOB.replace("{ steps:", f"{{ cluster: {labels}, steps:"))
    await world.decide(await world.delivery(push(FakeRepository("octo/web"))))


@pytest.mark.parametrize(
    ("labels", "cluster"),
    [
        ("{ region: eu }", "berlin"),
        ("{ region: eu, arch: arm64 }", "paris"),
        ("{ region: us }", "old-texas"),
        ("{ region: mars }", "local"),
    ],
    ids=["the first of those seen lately", "the one with all labels", "the only one", "nowhere"],
)
async def test_a_job_goes_to_a_cluster_that_has_its_labels(world: World, labels: str, cluster: str) -> None:
    await register(
        world,
        paris={"region": "eu", "arch": "arm64"},
        berlin={"region": "eu"},
        old_athens={"region": "eu"},
        old_texas={"region": "us"},
    )
    await wanting(world, labels)
    assert await world.admission.admit() == 1
    (ready,) = await world.sent("attempt.ready")
    assert ready.cluster == cluster
    assert (await world.jobs())["build"]["cluster"] == cluster


async def test_jobs_for_several_clusters_are_announced_to_each(world: World) -> None:
    await register(world, paris={"region": "eu"})
    await world.repository()
    await world.pipeline(ONE_JOB.replace("{ steps:", "{ cluster: { region: eu }, steps:"))
    await world.pipeline(ONE_JOB, name="another")
    repository = FakeRepository("octo/web")
    await world.decide(*[await world.delivery(push(repository)) for _ in range(2)])
    assert await world.admission.admit() == 4
    announced = {ready.cluster: len(ready.jobs) for ready in await world.sent("attempt.ready")}
    assert announced == {"paris": 2, "local": 2}


async def test_no_more_are_admitted_than_there_are_slots(world: World) -> None:
    await waiting(world, {"octo/web": 5})
    admission = limited(world, 3, 32).admission
    assert [await admission.admit(), await admission.admit()] == [3, 0]
    await world.run_job(await world.value("SELECT min(id) FROM jobs WHERE admitted_at IS NOT NULL"))
    assert await admission.admit() == 1


async def test_those_that_wait_longest_come_first(world: World) -> None:
    await waiting(world, {"octo/web": 3})
    await limited(world, 1, 32).admission.admit()
    assert await world.value("SELECT id FROM jobs WHERE admitted_at IS NOT NULL") == await world.value(
        "SELECT min(id) FROM jobs"
    )


async def test_a_repository_has_its_own_limit(world: World) -> None:
    await waiting(world, {"octo/web": 5, "octo/site": 1})
    await limited(world, 64, 2).admission.admit()
    assert await in_slots(world) == {"octo/web": 2, "octo/site": 1}


async def test_free_slots_go_to_the_repository_that_has_the_fewest(world: World) -> None:
    await waiting(world, {"octo/web": 9, "octo/site": 2, "octo/docs": 9})
    await limited(world, 7, 32).admission.admit()
    slots = await in_slots(world)
    assert slots["octo/site"] == 2
    assert sorted((slots["octo/web"], slots["octo/docs"])) == [2, 3]
    await limited(world, 10, 32).admission.admit()
    assert await in_slots(world) == {"octo/web": 4, "octo/site": 2, "octo/docs": 4}


async def test_two_schedulers_at_once_admit_no_more_than_the_limit(world: World) -> None:
    await waiting(world, {"octo/web": 20})
    admitted = await asyncio.gather(*(limited(world, 6, 32).admission.admit() for _ in range(6)))
    assert sum(admitted) == 6
    assert await in_slots(world) == {"octo/web": 6}


async def test_an_admission_waits_for_one_that_is_not_committed_yet(world: World) -> None:
    """The second admission could not see the slots that the first has given."""
    await waiting(world, {"octo/web": 4})
    async with open_store(world.database).transaction() as under_way:
        await under_way.lock_admission()
        await under_way.admit(global_limit=2, repository_limit=32, cluster="local")
        with pytest.raises(Transient):
            await limited(world, 2, 32).admission.admit()
    assert await limited(world, 2, 32).admission.admit() == 0
    assert await in_slots(world) == {"octo/web": 2}


async def test_a_job_that_another_transaction_holds_waits_for_the_next_admission(world: World) -> None:
    await waiting(world, {"octo/web": 2})
    async with world.database.transaction() as holding:
        await holding.execute("SELECT FROM jobs ORDER BY id LIMIT 1 FOR UPDATE")
        assert await world.admission.admit() == 1
    assert await world.admission.admit() == 1


async def test_an_admission_that_others_hold_up_gives_up_after_a_second(world: World) -> None:
    await waiting(world, {"octo/web": 1})
    async with world.database.transaction() as holding:
        await holding.execute("SELECT pg_advisory_xact_lock(1, 0)")
        with pytest.raises(Transient):
            await world.admission.admit()


async def test_wake_ups_are_heard_also_while_others_hold_it_up(world: World) -> None:
    await waiting(world, {"octo/web": 1})
    running = asyncio.create_task(world.admission.run())
    async with world.database.transaction() as holding:
        await holding.execute("SELECT pg_advisory_xact_lock(1, 0)")
        world.admission.wake()
        await asyncio.wait([running], timeout=1.5)
    async with asyncio.timeout(10):
        while not await in_slots(world):
            await asyncio.wait([running], timeout=0.02)
    running.cancel()


def plan_nodes(plan: dict[str, Any]) -> list[str]:
    return [
        plan.get("Index Name", f"{plan['Node Type']} of {plan.get('Relation Name')}"),
        *(name for child in plan.get("Plans", []) for name in plan_nodes(child)),
    ]


async def test_an_admission_reads_only_the_heads_of_the_queues(world: World) -> None:
    await waiting(world, {"octo/web": 1, "octo/site": 1})
    await world.sql.execute(
        "INSERT INTO jobs (run_id, name, position, definition, repository_id, waiting_for, ready_at, "
        "order_key)"
        " SELECT j.run_id, 'job' || n, n, '{}', j.repository_id, 'slot', now(), now() FROM jobs j, "
        "generate_series(1, 10000) AS n"
    )
    await world.sql.execute("ANALYZE jobs")
    async with world.sql.transaction():
        (explained,) = await world.sql.fetchval(
            f"EXPLAIN (ANALYZE, FORMAT JSON) {QUERIES['admit']}", 64, 32, "local"
        )
    nodes = plan_nodes(explained["Plan"])
    assert {"jobs_waiting", "jobs_in_slots"} <= set(nodes)
    assert "Seq Scan of jobs" not in nodes
