"""Tests of group commit: deliveries share a commit, a bad row harms no other, and waits have a bound."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from services.gateway.webhooks.circuit import Circuit
from services.gateway.webhooks.deliveries import Delivery
from services.gateway.webhooks.group_commit import ALONE_BYTES, GroupCommit, Kept, Refused
from shared.errors import Transient


def delivery(delivery_id: str, body: bytes = b"x") -> Delivery:
    return Delivery(
        "github", delivery_id, "push", {}, body, b"hash", len(body), None, datetime(2026, 11, 20, tzinfo=UTC)
    )


class Database:
    """A fake database. A commit waits for `may_go`; `groups` records the deliveries of each commit."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun = asyncio.Condition()
        self.may_go = asyncio.Event()
        self.fault: Exception | None = None

    async def commit(self, deliveries: Sequence[Delivery]) -> list[Kept]:
        ids = [one.delivery_id for one in deliveries]
        async with self.begun:
            self.groups.append(ids)
            self.begun.notify_all()
        await self.may_go.wait()
        if self.fault:
            raise self.fault
        if "bad" in ids:
            raise Refused("a bad row")
        return [Kept(one, is_duplicate=False) for one in ids]


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def circuit() -> Circuit:
    return Circuit()


@pytest.fixture
def groups(database: Database, circuit: Circuit) -> GroupCommit:
    return GroupCommit(database.commit, circuit, wait_seconds=0.2)


def store(groups: GroupCommit, *ids: str) -> list["asyncio.Task[Kept]"]:
    return [asyncio.create_task(groups.store(delivery(one))) for one in ids]


async def begun(database: Database, count: int) -> None:
    """Wait until this many commits have begun."""
    async with asyncio.timeout(1), database.begun:
        await database.begun.wait_for(lambda: len(database.groups) >= count)


async def test_what_arrives_during_a_commit_makes_up_the_next_group_in_order(
    groups: GroupCommit, database: Database
) -> None:
    first = store(groups, "a")
    await begun(database, 1)
    rest = store(groups, "d", "b", "c")
    await asyncio.sleep(0)
    assert database.groups == [["a"]]
    database.may_go.set()
    kept = await asyncio.gather(*first, *rest)
    assert database.groups == [["a"], ["b", "c", "d"]]
    assert [one.delivery_id for one in kept] == ["a", "d", "b", "c"]


async def test_a_bad_row_harms_no_other(groups: GroupCommit, database: Database, circuit: Circuit) -> None:
    database.may_go.set()
    answers = await asyncio.gather(*store(groups, "a", "bad", "z"), return_exceptions=True)
    assert database.groups == [["a", "bad", "z"], ["a"], ["bad"], ["z"]]
    assert [type(answer) for answer in answers] == [Kept, Refused, Kept]
    assert not circuit.is_open


async def test_a_bug_of_the_database_harms_nobody_twice(groups: GroupCommit, database: Database) -> None:
    database.may_go.set()
    database.fault = ZeroDivisionError()
    answers = await asyncio.gather(*store(groups, "a", "b"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ZeroDivisionError, ZeroDivisionError]
    database.fault = None
    assert (await groups.store(delivery("c"))).delivery_id == "c"


async def test_a_lost_connection_is_not_tried_row_by_row(
    groups: GroupCommit, database: Database, circuit: Circuit
) -> None:
    database.may_go.set()
    database.fault = Transient("gone")
    for number in range(3):
        assert not circuit.is_open
        answers = await asyncio.gather(*store(groups, f"a{number}", f"b{number}"), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Transient, Transient]
    assert circuit.is_open
    assert [len(group) for group in database.groups] == [2, 2, 2]


async def test_a_commit_that_hangs_is_left_behind_in_time(groups: GroupCommit, database: Database) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    first = store(groups, "a")
    await begun(database, 1)
    second = store(groups, "b")
    answers = await asyncio.gather(*first, *second, return_exceptions=True)
    assert [type(answer) for answer in answers] == [Transient, Transient]
    assert loop.time() - started < 0.4
    database.may_go.set()
    assert (await groups.store(delivery("c"))).delivery_id == "c"


async def test_a_large_delivery_holds_up_no_group(groups: GroupCommit, database: Database) -> None:
    large = asyncio.create_task(groups.store(delivery("large", b"x" * (ALONE_BYTES + 1))))
    await begun(database, 1)
    small = store(groups, "small")
    await begun(database, 2)
    assert database.groups == [["large"], ["small"]]
    database.may_go.set()
    await asyncio.gather(large, *small)


async def test_one_who_went_away_is_not_stored(groups: GroupCommit, database: Database) -> None:
    first = store(groups, "a")
    await begun(database, 1)
    gone, stays = store(groups, "gone", "stays")
    await asyncio.sleep(0)
    gone.cancel()
    database.may_go.set()
    await asyncio.gather(*first, stays)
    assert database.groups == [["a"], ["stays"]]
