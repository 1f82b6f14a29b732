"""Nobody gets another repository's events by claiming its identity at the forge.

The attacker is maintainer of `octo/mine`, knows its own webhook secret, and can send any body to its hook.
The victim's events come with the forge-wide secret.
"""

from typing import Any

import pytest

from tests.harness.github import FakeRepository, push
from tests.integration.scheduler.world import World

VICTIM = FakeRepository("octo/web", 4242)


async def forged(world: World, repository_id: int, repository: FakeRepository) -> int:
    """Store and decide a push that a repository's own hook reports. Return the id of the delivery."""
    delivery_id = await world.delivery(push(repository))
    hook_key = await world.value("SELECT hook_key FROM repositories WHERE id = $1", repository_id)
    await world.sql.execute("UPDATE deliveries SET hook_key = $2 WHERE id = $1", delivery_id, hook_key)
    await world.decide(delivery_id)
    return delivery_id


async def repository_of_last_event(world: World) -> Any:
    return await world.value("SELECT repository_id FROM events ORDER BY id DESC LIMIT 1")


@pytest.mark.parametrize("attacker_is_first", [True, False])
@pytest.mark.parametrize("is_registered", [True, False])
async def test_x02_an_own_hook_never_takes_another_repositorys_id(
    world: World,
    attacker_is_first: bool,
    is_registered: bool,
) -> None:
    names = ["octo/mine", "octo/web"] if attacker_is_first else ["octo/web", "octo/mine"]
    ids = {}
    for name in names:
        forge_id = VICTIM.forge_id if name == "octo/web" and is_registered else None
        ids[name] = await world.repository(name, forge_id=forge_id)
    claims = FakeRepository("octo/mine", VICTIM.forge_id)
    for _ in range(2):
        await forged(world, ids["octo/mine"], claims)
        assert await world.outcome(await world.deliver(push(VICTIM))) == "event"
        assert await repository_of_last_event(world) == ids["octo/web"]
    assert await world.outcome(await forged(world, ids["octo/mine"], claims)) == "repository_mismatch"
    query = "SELECT repository_id FROM repository_identities WHERE forge_id = $1"
    learned = await world.rows(query, VICTIM.forge_id)
    assert [row["repository_id"] for row in learned] == [ids["octo/web"]]


async def test_x02_an_own_hook_never_takes_another_repositorys_name(world: World) -> None:
    mine, victim = await world.repository("octo/mine"), await world.repository("octo/web")
    own = FakeRepository("octo/mine", 7)
    await forged(world, mine, own)
    await forged(world, mine, FakeRepository("octo/web", own.forge_id))
    assert await world.outcome(await world.deliver(push(VICTIM))) == "event"
    assert await repository_of_last_event(world) == victim


async def test_x02_a_registered_id_wins_over_one_that_was_learned(world: World) -> None:
    stale = await world.repository("octo/old")
    await world.deliver(push(FakeRepository("octo/old", VICTIM.forge_id)))
    assert await repository_of_last_event(world) == stale
    registered = await world.repository("octo/web", forge_id=VICTIM.forge_id)
    for name in ("octo/web", "octo/old", "octo/renamed"):
        await world.deliver(push(FakeRepository(name, VICTIM.forge_id)))
        assert await repository_of_last_event(world) == registered
    learned = await world.rows("SELECT repository_id FROM repository_identities")
    assert [row["repository_id"] for row in learned] == [registered]


async def test_x02_an_own_hook_still_follows_the_renames_of_its_repository(world: World) -> None:
    mine = await world.repository("octo/mine")
    for name in ("octo/mine", "octo/ours"):
        assert await world.outcome(await forged(world, mine, FakeRepository(name, 7))) == "event"
    assert await world.value("SELECT full_name FROM repository_identities") == "octo/ours"
    other = await forged(world, mine, FakeRepository("octo/mine", 8))
    assert await world.outcome(other) == "repository_mismatch"


async def test_x02_the_forge_confirms_what_an_own_hook_taught(world: World) -> None:
    mine = await world.repository("octo/mine")
    await forged(world, mine, FakeRepository("octo/mine", 7))
    assert await world.value("SELECT by_own_hook FROM repository_identities") is True
    await world.deliver(push(FakeRepository("octo/mine", 7)))
    assert await world.value("SELECT by_own_hook FROM repository_identities") is False
    await world.deliver(push(FakeRepository("octo/renamed", 7)))
    assert await repository_of_last_event(world) == mine


async def test_x02_an_id_that_an_administrator_changed_is_learned_anew(world: World) -> None:
    repository_id = await world.repository()
    await world.deliver(push(FakeRepository("octo/web", 5)))
    change = "UPDATE repositories SET forge_id = $1 WHERE id = $2"
    await world.sql.execute(change, VICTIM.forge_id, repository_id)
    former = await world.deliver(push(FakeRepository("octo/web", 5)))
    assert await world.outcome(former) == "repository_mismatch"
    assert await world.outcome(await world.deliver(push(VICTIM))) == "event"
    assert await world.value("SELECT forge_id FROM repository_identities") == VICTIM.forge_id
