"""Breaks parts and restores them. The seed alone decides which, in which order and for how long.

Every kind is injected once before any kind is injected again. A kind that could not be injected is tried
again soon, so that no kind falls behind. Nothing else changes the order.
"""

import asyncio
import random
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.faults import Fault, possible
from tests.chaos.recovery import Outage
from tests.chaos.world import World

TOGETHER = 0.85
"""The probability that two faults are injected at once."""
REST_SECONDS = (0.3, 1.0)
TRIES = 3
"""The number of tries of a kind in a round."""
_REPAIR_SECONDS = 90
_REPAIR_PAUSE_SECONDS = 1


@dataclass
class Injected:
    """The faults that were injected."""

    kinds: tuple[str, ...]
    outages: list[Outage] = field(default_factory=list)
    failed: list[Outage] = field(default_factory=list)
    """Faults that could not be injected as intended. They may have broken something all the same."""
    not_injected: int = 0
    notes: list[str] = field(default_factory=list)
    """The reasons why a fault was not injected or why restoring the world took more than one try."""
    left_out: list[str] = field(default_factory=list)
    """Kinds that this machine does not allow, with the reason."""

    def counts(self) -> dict[str, int]:
        """Return the number of outages of every kind, including kinds with 0."""
        found = Counter(outage.kind for outage in self.outages)
        return {kind: found[kind] for kind in sorted(self.kinds)}

    def longest_seconds(self) -> dict[str, float]:
        """Return the longest outage of every kind that was injected, in seconds.

        An outage lasts from the start of the fault to the end of the restoration, including the restart of
        processes.
        """
        longest: dict[str, float] = {}
        for outage in self.outages:
            longest[outage.kind] = max(
                round(outage.ended_at - outage.began_at, 1), longest.get(outage.kind, 0.0)
            )
        return dict(sorted(longest.items()))


class Order:
    """The order of the kinds of faults."""

    def __init__(self, faults: Sequence[Fault], chance: random.Random) -> None:
        self._faults = faults
        self._chance = chance
        self._round: deque[Fault] = deque()
        self._failures: Counter[str] = Counter()

    def take(self, count: int) -> list[Fault]:
        """Return the next faults, all of different kinds."""
        taken: list[Fault] = []
        while len(taken) < count:
            if not self._round:
                self._failures.clear()
                self._round.extend(
                    fault
                    for fault in self._chance.sample(self._faults, len(self._faults))
                    if fault not in taken
                )
                self._round.extend(taken)
            taken.append(self._round.popleft())
        return taken

    def again(self, fault: Fault) -> None:
        """Schedule a fault again that could not be injected.

        After its first failure in a round it is next, after the second it is last in the round, after the
        third it waits for the next round.
        """
        self._failures[fault.kind] += 1
        if self._failures[fault.kind] == 1:
            self._round.appendleft(fault)
        elif self._failures[fault.kind] < TRIES:
            self._round.append(fault)


class Trouble:
    """Injects one or two faults at a time for a given time."""

    def __init__(self, world: World) -> None:
        self._world = world
        faults, left_out = possible(world)
        self._chance = random.Random(world.chance.random())  # noqa: S311 - to be repeated, not to be secret
        """A generator of its own, because what faults draw from the world's depends on what they find."""
        self._order = Order(faults, self._chance)
        self.now: list[str] = []
        self.injected = Injected(tuple(fault.kind for fault in faults), left_out=left_out)

    async def run(self, seconds: float, least: int = 0) -> None:
        """Inject faults for this time, and until every kind was injected at least `least` times.

        All parts work again when it returns.
        """
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at or min(self.injected.counts().values()) < least:
            chosen = [
                (fault, self._chance.uniform(*fault.seconds))
                for fault in self._order.take(2 if self._chance.random() < TOGETHER else 1)
            ]
            rest_seconds = self._chance.uniform(*REST_SECONDS)
            done = await asyncio.gather(*(self._inject(fault, seconds) for fault, seconds in chosen))
            for (fault, _), is_done in zip(chosen, done, strict=True):
                if not is_done:
                    self._order.again(fault)
            if not all(done):
                await self._repair()
            await asyncio.sleep(rest_seconds)

    async def _inject(self, fault: Fault, seconds: float) -> bool:
        began_at = time.time()
        self.now.append(fault.kind)
        try:
            async with fault.broken(self._world):
                await asyncio.sleep(seconds)
        # Many libraries can raise here, so every exception counts. A cancelled soak still ends, by the
        # gather.
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any library's
            self.injected.not_injected += 1
            self._note(fault.kind, error)
            self.injected.failed.append(Outage(fault.kind, began_at, time.time()))
            return False
        finally:
            self.now.remove(fault.kind)
        self.injected.outages.append(Outage(fault.kind, began_at, time.time()))
        return True

    async def _repair(self) -> None:
        began_at = time.time()
        while True:
            try:
                await self._world.repair()
                break
            except Exception as error:
                self._note("repair", error)
                if time.time() - began_at > _REPAIR_SECONDS:
                    raise
            await asyncio.sleep(_REPAIR_PAUSE_SECONDS)
        self.injected.failed.append(Outage("repair", began_at, time.time()))

    def _note(self, what: str, error: BaseException) -> None:
        first_line = next(iter(str(error).splitlines()), "")
        self.injected.notes.append(f"{what}: {type(error).__name__} {first_line}".rstrip())
