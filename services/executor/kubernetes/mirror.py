"""What a watch has told of this installation's Jobs or pods: the last of each object, and since when its
stage is what it is. Pure.

It may be old, so what is missing here proves nothing; what it shows has been true. An object that was deleted
stays for a while as it was last seen: that may be the only evidence of why it went.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from services.executor.cluster import Pod

KEPT_GONE_SECONDS = 900.0
"""Long enough for a verdict to be reached while the database is away for a moment."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Seen(Protocol):
    """What is kept of an object."""

    @property
    def uid(self) -> str: ...
    @property
    def attempt_id(self) -> int: ...


S = TypeVar("S", bound=Seen)


@dataclass(slots=True)
class Held(Generic[S]):
    """An object as last told."""

    seen: S
    since: float
    """When its stage began, by the mirror's clock."""
    gone_at: float | None = None
    end: Pod | None = None
    """Its end, once somebody was certain of it: what happens to the object later does not change it."""
    released_at: float | None = None
    """When its gate was opened from here, or began to be, by the mirror's clock."""


class Mirror(Generic[S]):
    """The objects of one kind, by attempt and uid.

    What changes it returns the attempts that look different now.
    """

    def __init__(self, stage: Callable[[S], Hashable], clock: Callable[[], float]) -> None:
        self._stage = stage
        self._clock = clock
        self._attempts: dict[int, dict[str, Held[S]]] = {}

    def of(self, attempt_id: int) -> Collection[Held[S]]:
        """Also those that are gone."""
        return self._attempts.get(attempt_id, {}).values()

    def attempts(self) -> set[int]:
        """Those with an object that is there."""
        return {
            attempt
            for attempt, objects in self._attempts.items()
            if any(held.gone_at is None for held in objects.values())
        }

    def told(self, event: EventType, seen: S) -> frozenset[int]:
        """An event of a watch."""
        known = self._attempts.get(seen.attempt_id, {}).get(seen.uid)
        if event == "DELETED" and known is not None and known.gone_at is not None:
            return frozenset()
        changed = self._put(seen)
        if event == "DELETED":
            changed |= self._bury(self._attempts[seen.attempt_id][seen.uid])
        return changed

    def listed(self, everything: Iterable[S]) -> frozenset[int]:
        """A complete list: what is not in it is gone."""
        changed: set[int] = set()
        there = set()
        for seen in everything:
            there.add(seen.uid)
            changed |= self._put(seen)
        for objects in self._attempts.values():
            for uid, held in objects.items():
                if uid not in there:
                    changed |= self._bury(held)
        self._forget_old()
        return frozenset(changed)

    def forget(self, attempt_id: int) -> None:
        """Nobody will ask for what is gone of this attempt."""
        kept = {uid: held for uid, held in self._attempts.pop(attempt_id, {}).items() if held.gone_at is None}
        if kept:
            self._attempts[attempt_id] = kept

    def _put(self, seen: S) -> frozenset[int]:
        objects = self._attempts.setdefault(seen.attempt_id, {})
        held = objects.get(seen.uid)
        if held is None:
            objects[seen.uid] = Held(seen, self._clock())
            return frozenset({seen.attempt_id})
        if self._stage(held.seen) != self._stage(seen):
            held.since = self._clock()
        changed = held.seen != seen or held.gone_at is not None
        held.seen, held.gone_at = seen, None
        return frozenset({seen.attempt_id}) if changed else frozenset()

    def _bury(self, held: Held[S]) -> frozenset[int]:
        if held.gone_at is not None:
            return frozenset()
        held.gone_at = self._clock()
        return frozenset({held.seen.attempt_id})

    def _forget_old(self) -> None:
        oldest = self._clock() - KEPT_GONE_SECONDS
        for attempt, objects in list(self._attempts.items()):
            kept = {
                uid: held for uid, held in objects.items() if held.gone_at is None or held.gone_at >= oldest
            }
            if kept:
                self._attempts[attempt] = kept
            else:
                del self._attempts[attempt]
