"""Event order: decides which of two events of a branch, tag or pull request is newer.

The forge's time is not enough: GitHub's has a resolution of one second, and Gitea's pushes have none. In
these cases the commits give the order: an event follows another one if it starts at the commit where the
other one ends.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

LONGEST_CHAIN = 100
"""Maximum number of steps from an event to those that follow it."""

_STEP = timedelta(microseconds=1)

Line = tuple[int, str | None, int | None]
"""Repository id, ref and pull request number. Only events of the same line have an order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The fields of a stored event that determine its order."""

    id: int
    repository_id: int
    ref: str | None
    pull_request: int | None
    sha: str | None
    """None if the event deleted its ref."""
    before_sha: str | None
    happened_at: datetime | None
    """Time by the forge's clock."""
    stored_at: datetime

    @property
    def line(self) -> Line:
        return self.repository_id, self.ref, self.pull_request

    @property
    def order_at(self) -> datetime:
        """Time of the event, at most the time at which it was stored.

        The limit prevents a forge's clock that is ahead from delaying anything.
        """
        return min(self.happened_at or self.stored_at, self.stored_at)


def places_in_order(changes: Iterable[Change]) -> dict[int, datetime]:
    """Returns the time at which each event counts as having happened, by event id.

    It is earlier than the time of all events that follow.
    """
    following: dict[tuple[Line, str], list[Change]] = {}
    every = list(changes)
    for one in every:
        if one.before_sha is not None:
            following.setdefault((one.line, one.before_sha), []).append(one)
    return {one.id: _place(one, following) for one in every}


def _place(event: Change, following: dict[tuple[Line, str], list[Change]]) -> datetime:
    """Returns a time before all events that follow this one.

    If the ref was deleted, or came back to the commit where the event starts or ends, the event may be the
    newest. Then its own time is returned.
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
    """Returns True if the forge's times give the order of the two events."""
    return (
        one.happened_at is not None and other.happened_at is not None and one.happened_at != other.happened_at
    )
