"""A copy in memory of this installation's Jobs or pods, filled by a list and a watch. Pure.

It holds the last known version of each object, and since when its stage has been the same. The copy may be
old: an object that it does not show may exist, but everything that it shows has been true. A deleted object
is kept for a while as it was last seen, because it may be the only information about why it was deleted.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

from services.executor.backend import Pod

KEPT_GONE_SECONDS = 900.0
"""Time for which a deleted object is kept. It allows a verdict even after a short outage of the database."""

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


class Seen(Protocol):
    """The part of an object that is kept."""

    @property
    def uid(self) -> str: ...
    @property
    def attempt_id(self) -> int: ...


S = TypeVar("S", bound=Seen)


@dataclass(slots=True)
class Held(Generic[S]):
    """An object as it was last reported."""

    seen: S
    since: float
    """When its current stage began, by the clock of the `ObjectCache`."""
    gone_at: float | None = None
    end: Pod | None = None
    """Its end, once the end was certain. Later changes of the object do not change it."""
    released_at: float | None = None
    """When this process opened its gate, or began to open it, by the clock of the `ObjectCache`."""


class ObjectCache(Generic[S]):
    """The objects of one kind, by attempt and uid.

    `told` and `listed` return the attempts whose objects have changed.
    """

    def __init__(self, stage: Callable[[S], Hashable], clock: Callable[[], float]) -> None:
        self._stage = stage
        self._clock = clock
        self._attempts: dict[int, dict[str, Held[S]]] = {}

    def of(self, attempt_id: int) -> Collection[Held[S]]:
        """Return all objects of this attempt, including deleted ones."""
        return self._attempts.get(attempt_id, {}).values()

    def attempts(self) -> set[int]:
        """Return the attempts that have an object that is not deleted."""
        return {
            attempt
            for attempt, objects in self._attempts.items()
            if any(held.gone_at is None for held in objects.values())
        }

    def told(self, event: EventType, seen: S) -> frozenset[int]:
        """Apply an event of a watch. Returns the attempts whose objects have changed."""
        known = self._attempts.get(seen.attempt_id, {}).get(seen.uid)
        if event == "DELETED" and known is not None and known.gone_at is not None:
            return frozenset()
        changed = self._put(seen)
        if event == "DELETED":
            changed |= self._bury(self._attempts[seen.attempt_id][seen.uid])
        return changed

    def listed(self, everything: Iterable[S]) -> frozenset[int]:
        """Apply a complete list: an object that is not in it is gone. Returns the attempts that changed."""
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
        """Drop the deleted objects of this attempt, which are no longer needed."""
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
