"""How long it took to serve again what a fault had held up. Pure.

A run waits from the moment it was accepted to the start of its user code, and from the end of its user code
to its verdict. A fault's recovery is the time from the return of the part to the end of the last wait that
was going on then; time in which something else was broken does not count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Outage:
    """A part was broken from one moment to the other."""

    kind: str
    began_at: float
    ended_at: float


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody waited for the system."""

    began_at: float
    ended_at: float


class Broken:
    """When anything was broken."""

    def __init__(self, outages: Iterable[Outage]) -> None:
        self._outages = sorted(outages, key=lambda outage: outage.began_at)

    def whole_seconds(self, began_at: float, ended_at: float) -> float:
        """How much of this time everything worked."""
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
        """None: nobody waited when the part came back."""
        held_up = [wait for wait in waits if wait.began_at <= outage.ended_at < wait.ended_at]
        return max((self.whole_seconds(outage.ended_at, wait.ended_at) for wait in held_up), default=None)


def recoveries(
    outages: Sequence[Outage], waits: Sequence[Wait], also_broken: Sequence[Outage] = ()
) -> list[tuple[Outage, float]]:
    """Of each outage that held anybody up. `also_broken`: times that count for none."""
    broken = Broken([*outages, *also_broken])
    found = ((outage, broken.recovery_seconds(outage, waits)) for outage in outages)
    return [(outage, seconds) for outage, seconds in found if seconds is not None]


def middle(seconds: Sequence[float]) -> float:
    return median(seconds) if seconds else 0.0
