"""Compares admission with a model.

A limit is never exceeded, no slot stays free while a waiting job may have it, and slots go to the
repositories that have the fewest.
"""

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.harness.github import FakeRepository, push
from tests.integration.scheduler.world import ONE_JOB, World

REPOSITORIES = ("octo/web", "octo/site", "octo/docs")
OVER_ALL, OF_REPOSITORY = 5, 3

Step = tuple[str, int]
STEPS = st.tuples(st.sampled_from(["push", "push", "admit", "end"]), st.integers(0, 5))


async def registered(world: World) -> None:
    for name in REPOSITORIES:
        await world.repository(name)
        await world.pipeline(ONE_JOB.replace("octo/web", name))


async def counts(world: World, condition: str) -> Counter[str]:
    rows = await world.rows(
        "SELECT r.full_name, count(*) AS jobs FROM jobs j JOIN repositories r ON r.id = j.repository_id "
        f"WHERE {condition} GROUP BY 1"
    )
    return Counter({row["full_name"]: row["jobs"] for row in rows})


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(STEPS, max_size=20))
async def test_slots_are_never_overdrawn_and_never_idle(world: World, steps: list[Step]) -> None:
    if not await world.value("SELECT count(*) FROM repositories"):
        await registered(world)
    await world.sql.execute(
        "UPDATE jobs SET status = 'cancelled', slot_freed_at = now() WHERE slot_freed_at IS NULL"
    )  # the jobs of the previous example
    scheduler = world.another_scheduler(over_all=OVER_ALL, of_repository=OF_REPOSITORY)
    for what, number in steps:
        if what == "push":
            await world.deliver(push(FakeRepository(REPOSITORIES[number % 3])))
        elif what == "end":
            await world.sql.execute(
                "UPDATE jobs SET slot_freed_at = now(), status = 'success' WHERE id ="
                " (SELECT id FROM jobs WHERE admitted_at IS NOT NULL AND slot_freed_at IS NULL ORDER BY id "
                "OFFSET $1 LIMIT 1)",
                number,
            )
        else:
            await scheduler.admission.admit()
            await check(world)


async def check(world: World) -> None:
    """Check the limits and the free slots. Call it right after an admission."""
    held = await counts(world, "j.admitted_at IS NOT NULL AND j.slot_freed_at IS NULL")
    waiting = await counts(world, "j.admitted_at IS NULL AND j.status = 'pending'")
    assert held.total() <= OVER_ALL
    assert max(held.values(), default=0) <= OF_REPOSITORY
    if held.total() < OVER_ALL:
        assert [name for name in waiting if held[name] < OF_REPOSITORY] == []
