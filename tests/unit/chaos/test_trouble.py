"""Tests of the order of faults: every kind gets its turn, and a seed determines the schedule.

If a fault can't be injected or removed, this is noted and tried again.
"""

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.chaos import trouble
from tests.chaos.faults import Fault
from tests.chaos.trouble import TRIES, Order, Trouble
from tests.chaos.world import World
from tests.harness.waiting import until


@contextlib.asynccontextmanager
async def nothing(_world: World) -> AsyncIterator[None]:
    yield


FAULTS = [Fault(name, nothing, (0, 0)) for name in "abcdefg"]


def order(seed: int = 1) -> Order:
    return Order(FAULTS, random.Random(seed))  # noqa: S311 - to be repeated, not to be secret


def kinds(order: Order, rounds: int, count: int = 1) -> list[str]:
    return [fault.kind for _ in range(rounds) for fault in order.take(count)]


def test_every_kind_comes_once_before_any_comes_again() -> None:
    taken = kinds(order(), 21)
    assert [sorted(taken[first : first + 7]) for first in (0, 7, 14)] == [list("abcdefg")] * 3
    assert taken[:7] != taken[7:14]


def test_the_same_seed_gives_the_same_order() -> None:
    assert kinds(order(), 50) == kinds(order(), 50)
    assert kinds(order(), 50) != kinds(order(2), 50)


@pytest.mark.parametrize("seed", range(20))
def test_two_at_once_are_of_two_kinds_and_none_is_left_behind(seed: int) -> None:
    wanted = order(seed)
    pairs = [wanted.take(2) for _ in range(70)]
    assert all(first.kind != second.kind for first, second in pairs)
    assert set(Counter(fault.kind for pair in pairs for fault in pair).values()) == {20}


def test_what_could_not_be_injected_comes_again_at_once() -> None:
    wanted = order()
    [failed] = wanted.take(1)
    wanted.again(failed)
    assert wanted.take(1) == [failed]


def test_what_never_can_be_injected_holds_up_nobody() -> None:
    wanted = order()
    done: Counter[str] = Counter()
    for _ in range(10 * (len(FAULTS) - 1 + TRIES)):
        [fault] = wanted.take(1)
        if fault.kind == "c":
            wanted.again(fault)
        else:
            done[fault.kind] += 1
    assert set(done.values()) == {10}


class ManyTries(World):
    """A world that recovers at the third attempt. Each failed attempt has a different message."""

    def __init__(self) -> None:
        self.chance = random.Random(1)  # noqa: S311 - to be repeated, not to be secret
        self.tries = 0

    async def repair(self) -> None:
        self.tries += 1
        if self.tries < 3:
            raise EOFError(f"try {self.tries}\nmore of it")


async def test_errors_while_injecting_and_repairing_are_reported_and_end_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breaks = iter([LookupError("no such part"), asyncio.CancelledError(), None])

    @contextlib.asynccontextmanager
    async def sometimes(_world: World) -> AsyncIterator[None]:
        error = next(breaks)
        if error is not None:
            raise error
        yield

    monkeypatch.setattr(trouble, "possible", lambda _world: ([Fault("a", sometimes, (0, 0))], []))
    monkeypatch.setattr(trouble, "REST_SECONDS", (0, 0))
    monkeypatch.setattr(trouble, "TOGETHER", 0)
    monkeypatch.setattr(trouble, "_REPAIR_PAUSE_SECONDS", 0)
    world = ManyTries()
    going_on = Trouble(world)
    await going_on.run(0, least=1)
    assert (going_on.injected.counts(), going_on.injected.not_injected, world.tries) == ({"a": 1}, 2, 4)
    assert going_on.injected.notes == [
        "a: LookupError no such part",
        "repair: EOFError try 1",
        "repair: EOFError try 2",
        "a: CancelledError",
    ]


async def something(now: list[str]) -> bool:
    return bool(now)


async def test_a_soak_that_is_cancelled_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trouble, "possible", lambda _world: ([Fault("a", nothing, (60, 60))], []))
    soak = Trouble(ManyTries())
    going_on = asyncio.create_task(soak.run(60))
    await until(lambda: something(soak.now), within=5, what="a fault")
    going_on.cancel()
    with pytest.raises(asyncio.CancelledError):
        await going_on
