"""Measures how long the system needs after a fault to serve the runs that the fault delayed. Pure.

A run waits from its acceptance to the start of its user code, and from the end of its user code to its
verdict. The recovery of a fault is the time from the return of the part to the end of the last wait that was
in progress then. Time in which another part was broken does not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Outage:
    """A time during which a part was broken."""

    kind: str
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """A time during which a run waited for the system."""

    began_at: float
    ended_at: float


class Broken:
    """The times during which any part was broken."""

    def __init__(self, outages: Iterable[Outage]) -> None:
        self._outages = sorted(outages, key=lambda outage: outage.began_at)

    def whole_seconds(self, began_at: float, ended_at: float) -> float:
        """Return for how many seconds of this time all parts worked."""
        broken = 0.0
        until = began_at
        for outage in self._outages:
            if outage.began_at >= ended_at:
                break
            first, last = max(outage.began_at, until), min(outage.ended_at, ended_at)
            if last > first:
                broken += last - first
                until = last
        return max(0.0, ended_at - began_at - broken)

    def recovery_seconds(self, outage: Outage, waits: Iterable[Wait]) -> float | None:
        """Return the recovery time in seconds, or None if no run waited when the part returned."""
        held_up = [wait for wait in waits if wait.began_at <= outage.ended_at < wait.ended_at]
        return max((self.whole_seconds(outage.ended_at, wait.ended_at) for wait in held_up), default=None)


def recoveries(
    outages: Sequence[Outage], waits: Sequence[Wait], also_broken: Sequence[Outage] = ()
) -> list[tuple[Outage, float]]:
    """Return the recovery time of each outage that delayed a run.

    Time within an outage of `also_broken` does not count.
    """
    broken = Broken([*outages, *also_broken])
    found = ((outage, broken.recovery_seconds(outage, waits)) for outage in outages)
    return [(outage, seconds) for outage, seconds in found if seconds is not None]


def middle(seconds: Sequence[float]) -> float:
    return median(seconds) if seconds else 0.0
