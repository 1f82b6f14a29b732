"""Concurrency groups: which runs get a place in their group, and which are stopped for a newer one. Pure.

A group belongs to a repository, whichever pipelines name it. A run has its place from its admission until it
is over, not until it is asked to stop: the runs of a group that are under way are never more than its limit.
Only one admission at a time arranges groups, so what it reads stays true.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.events import Event, fields
from shared.pipeline.model import OnNew, Pipeline
from shared.pipeline.templates import filled
from shared.statuses import Reason

LONGEST_NAME = 1000
"""Characters; a longer name keeps its beginning and ends with its hash."""

Age = tuple[datetime, int]
"""Orders the runs of a group: when it happened, then the run's id. Greater is newer."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a new run brings with it."""

    group: str
    limit: int
    on_new: OnNew
    order_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A run of a group that is not over."""

    id: int
    age: Age
    limit: int
    on_new: OnNew
    entered: bool
    """It has a place."""
    stopping: bool = False
    """It was asked to stop, and keeps its place until it has."""


@dataclass(frozen=True, slots=True)
class Group:
    """Those that have a place, and the oldest of those that wait."""

    members: tuple[Member, ...]
    newest_canceller: Age | None = None
    """Of all its runs with `cancel_older`, over or not; one that is older has come too late."""
    newest_keeper: Age | None = None
    """Of all its runs with `keep_latest_pending`."""


@dataclass(frozen=True, slots=True)
class Stop:
    run_id: int
    reason: Reason
    cause: str


@dataclass(frozen=True, slots=True)
class Arrangement:
    enter: tuple[int, ...] = ()
    stop: tuple[Stop, ...] = ()


def membership(pipeline: Pipeline, event: Event, order_at: datetime) -> Membership | None:
    """None: the pipeline's runs need no place."""
    wanted = pipeline.concurrency
    if wanted is None:
        return None
    name = filled(wanted.group, fields(event))
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 64] + hashlib.sha256(name.encode()).hexdigest()
    return Membership(name, wanted.limit, wanted.on_new, order_at)


def arrange(groups: Iterable[Group]) -> Arrangement:
    """What happens to the runs of these groups now. Arranging what is arranged already changes nothing."""
    enter: list[int] = []
    stop: list[Stop] = []
    for group in groups:
        stopped = [found for member in group.members if (found := _superseded(member, group)) is not None]
        stop += stopped
        _let_in(group, {one.run_id for one in stopped}, enter, stop)
    return Arrangement(tuple(enter), tuple(stop))


def _superseded(member: Member, group: Group) -> Stop | None:
    newer = [] if member.entered else [group.newest_keeper]
    age = max(
        (age for age in (group.newest_canceller, *newer) if age is not None and age > member.age),
        default=None,
    )
    return None if age is None or member.stopping else Stop(member.id, Reason.SUPERSEDED, f"run:{age[1]}")


def _let_in(group: Group, stopped: set[int], enter: list[int], stop: list[Stop]) -> None:
    """In order of age: nobody overtakes one that waits."""
    taken = sum(member.entered for member in group.members)
    somebody_waits = False
    for member in sorted(group.members, key=lambda one: one.age):
        if member.entered or member.stopping or member.id in stopped:
            continue
        if taken < member.limit and not somebody_waits:
            enter.append(member.id)
            taken += 1
        elif member.on_new == "reject":
            stop.append(Stop(member.id, Reason.REJECTED, "group"))
        else:
            somebody_waits = True
