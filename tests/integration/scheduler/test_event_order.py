"""Events of one branch with equal or unknown times. The commits decide which event is newer."""

import asyncio
import itertools
from typing import Any

import pytest

from tests.harness.github import new_sha, pull_request, push
from tests.integration.scheduler.test_groups import GROUPED, admit, grouped, run, under_way
from tests.integration.scheduler.world import World

FORGES = ["github", "gitea"]
SECOND = 1_700_000_000


def at_once(world: World, *shas: str, at: int = SECOND) -> list[Any]:
    """Return pushes from each commit to the next, all within one second of the forge's clock."""
    pushes = [push(world.octo_web, sha=sha, before=before) for before, sha in itertools.pairwise(shas)]
    for number, payload in enumerate(pushes):
        payload |= {"repository": payload["repository"] | {"pushed_at": at}, "compare": f"number {number}"}
    return pushes


async def decided(world: World, payload: Any, source: str = "github", event_type: str = "push") -> int:
    """Deliver the payload and admit its jobs. Return the id of its run."""
    await world.deliver(payload, event_type, source=source)
    await admit(world)
    return int(await world.value("SELECT max(id) FROM pipeline_runs"))


async def asked_to_stop(world: World) -> list[int]:
    """Return the runs that a newer one replaces, including those that still hold a slot."""
    return [
        row["run_id"]
        for row in await world.rows(
            "SELECT run_id FROM jobs WHERE cancel_reason = 'superseded' OR reason = 'superseded' ORDER BY 1"
        )
    ]


async def ready(world: World, source: str = "github", on_new: str = "cancel_older") -> None:
    await world.repository(forge=source)
    await world.pipeline(GROUPED.format(on_new=on_new, limit=1))


@pytest.mark.parametrize("source", FORGES)
async def test_a18_an_older_push_that_comes_late_within_a_second_is_superseded(
    world: World, source: str
) -> None:
    await ready(world, source)
    older, newer = at_once(world, new_sha(), new_sha(), new_sha())
    first = await decided(world, newer, source)
    late = await decided(world, older, source)
    assert (await run(world, late), await under_way(world)) == (("cancelled", "superseded"), [first])
    cause = "SELECT DISTINCT cause FROM transitions WHERE run_id = $1 AND to_status = 'cancelled'"
    assert await world.value(cause, late) == f"run:{first}"


@pytest.mark.parametrize("source", FORGES)
@pytest.mark.parametrize("together", [True, False])
async def test_a18_of_three_in_any_order_the_newest_stays(world: World, source: str, together: bool) -> None:
    await ready(world, source)
    first, second, third = at_once(world, new_sha(), new_sha(), new_sha(), new_sha())
    ids = [await world.delivery(payload, source=source) for payload in (third, second, first)]
    for batch in [ids] if together else [[one] for one in ids]:
        await world.decide(*batch)
        await admit(world)
    newest = await world.value("SELECT id FROM pipeline_runs WHERE sha = $1", third["after"])
    shas = await world.value("SELECT array_agg(sha ORDER BY group_order_at, id) FROM pipeline_runs")
    assert shas == [first["after"], second["after"], third["after"]]
    assert await under_way(world) == [newest]


async def test_a18_pushes_decided_at_once_by_two_schedulers_keep_their_order(world: World) -> None:
    await ready(world)
    for number in range(8):
        older, newer = at_once(world, new_sha(), new_sha(), new_sha(), at=SECOND + number)
        ids = [await world.delivery(newer), await world.delivery(older)]
        await asyncio.gather(*(world.another_scheduler().consumers.decide([one]) for one in ids))
        order = "SELECT array_agg(sha ORDER BY group_order_at, id) FROM pipeline_runs WHERE sha = ANY($1)"
        assert await world.value(order, [older["after"], newer["after"]]) == [older["after"], newer["after"]]


@pytest.mark.parametrize("source", FORGES)
async def test_a18_a_push_that_sets_the_branch_back_is_the_newest(world: World, source: str) -> None:
    """The branch goes from a to b, back to a, and to b again.

    Judged by the commits alone, the second push seems to follow the last one.
    """
    await ready(world, source)
    a, b = new_sha(), new_sha()
    runs = [await decided(world, payload, source) for payload in at_once(world, a, b, a, b)]
    assert await asked_to_stop(world) == runs[:2]


async def test_a18_the_forges_time_counts_where_it_tells(world: World) -> None:
    await ready(world)
    a, b, c = new_sha(), new_sha(), new_sha()
    (first,) = at_once(world, b, c, at=SECOND)
    (second,) = at_once(world, a, b, at=SECOND + 1)
    stopped, newest = await decided(world, first), await decided(world, second)
    assert await asked_to_stop(world) == [stopped]
    assert (await run(world, newest))[0] == "pending"


async def test_a18_another_branch_with_the_same_commits_has_an_order_of_its_own(world: World) -> None:
    await ready(world)
    older, newer = at_once(world, new_sha(), new_sha(), new_sha())
    other = await decided(world, newer | {"ref": "refs/heads/next"})
    assert [other, await decided(world, older)] == await under_way(world)


async def test_a18_an_update_of_a_pull_request_that_comes_late_is_superseded(world: World) -> None:
    await world.repository()
    yaml = GROUPED.format(on_new="cancel_older", limit=1).replace(
        "on: { push: {} }", "on: { pull_request: {} }"
    )
    await world.pipeline(yaml)
    opened, updated = (
        pull_request(world.octo_web, action=action, sha=new_sha()) for action in ("opened", "synchronize")
    )
    updated["before"] = opened["pull_request"]["head"]["sha"]
    first = await decided(world, updated, event_type="pull_request")
    late = await decided(world, opened, event_type="pull_request")
    assert (await run(world, late), await under_way(world)) == (("cancelled", "superseded"), [first])


async def test_a18_runs_that_queue_start_in_the_order_of_their_commits(world: World) -> None:
    await grouped(world, "queue")
    payloads = at_once(world, *(new_sha() for _ in range(5)))
    for payload in reversed(payloads):
        await decided(world, payload)
    waiting = "SELECT array_agg(sha ORDER BY group_order_at, id) FROM pipeline_runs"
    assert await world.value(waiting) == [payload["after"] for payload in payloads]
