"""Which of two events of one branch, tag or pull request is the newer where the forge's time does not tell.

Pure.

GitHub's time counts seconds, and Gitea's pushes have none. Then the commits tell: an event follows another
one if it starts at the commit where the other one ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_CHAIN = 100
"""Events that are looked at after one."""

_STEP = timedelta(microseconds=1)

Line = tuple[int, str | None, int | None]
"""Repository, ref and pull request: events of one line have an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A stored event, as far as its order needs it."""

    id: int
    repository_id: int
    ref: str | None
    pull_request: int | None
    sha: str | None
    """None: it deleted its ref."""
    before_sha: str | None
    happened_at: datetime | None
    """By the forge's clock."""
    stored_at: datetime

    @property
    def line(self) -> Line:
        return self.repository_id, self.ref, self.pull_request

    @property
    def order_at(self) -> datetime:
        """A forge's clock that is ahead holds nothing up."""
        return min(self.happened_at or self.stored_at, self.stored_at)


def places_in_order(changes: Iterable[Change]) -> dict[int, datetime]:
    """When each event counts as having happened, by id: before all that follow it."""
    following: dict[tuple[Line, str], list[Change]] = {}
    every = list(changes)
    for one in every:
        if one.before_sha is not None:
            following.setdefault((one.line, one.before_sha), []).append(one)
    return {one.id: _place(one, following) for one in every}


def _place(event: Change, following: dict[tuple[Line, str], list[Change]]) -> datetime:
    """Before what follows the event, unless the ref came back to where the event starts or ends: then it may
    be the newest.
    """
    place = event.order_at
    reached = {event.id}
    ends = {event.sha}
    for step in range(1, LONGEST_CHAIN + 1):
        next_ones = [
            one
            for end in ends
            if end is not None
            for one in following.get((event.line, end), ())
            if one.id not in reached and not _differ(event, one)
        ]
        if not next_ones:
            return place
        ends = {one.sha for one in next_ones}
        if ends & {None, event.sha, event.before_sha}:
            return event.order_at
        reached |= {one.id for one in next_ones}
        place = min(place, *(one.order_at - step * _STEP for one in next_ones))
    return place


def _differ(one: Change, other: Change) -> bool:
    """The forge's time tells their order."""
    return (
        one.happened_at is not None and other.happened_at is not None and one.happened_at != other.happened_at
    )
