"""Concurrency groups: decides which runs get a place in their group, and which stop for a newer one.

A group belongs to a repository, and several pipelines may use the same group. A run that has a place keeps it
until it is over, also after it was asked to stop, so the runs of a group that are under way never exceed its
limit. Only one admission at a time arranges groups, so the data that it has read stays valid.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.pipeline.model import Concurrency, OnNew
from shared.statuses import Reason

LONGEST_NAME = 1000
"""Characters of a group's name. A longer name is cut and ends with its SHA-256 hash."""

UNTRUSTED = "untrusted: "
"""The beginning of the names of the groups of runs of forks. No other group's name begins so."""

Age = tuple[datetime, int]
"""Sort key for the runs of a group: when the run's event happened, then the run's id. Greater is newer."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The concurrency settings of a new run."""

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
    """True if it has a place."""
    stopping: bool = False
    """True if it was asked to stop. It keeps its place until it is over."""


@dataclass(frozen=True, slots=True)
class Group:
    """The runs that have a place in a group, and the oldest runs that wait for one."""

    members: tuple[Member, ...]
    newest_canceller: Age | None = None
    """Age of the newest run with `cancel_older`, over or not. Older runs are superseded."""
    newest_keeper: Age | None = None
    """Age of the newest run with `keep_latest_pending`, over or not. Older runs that wait are superseded."""


@dataclass(frozen=True, slots=True)
class Stop:
    run_id: int
    reason: Reason
    cause: str


@dataclass(frozen=True, slots=True)
class Arrangement:
    enter: tuple[int, ...] = ()
    stop: tuple[Stop, ...] = ()


def membership(
    wanted: Concurrency | None, name: str | None, order_at: datetime, *, trusted: bool = True
) -> Membership | None:
    """Returns the concurrency settings of a new run, or None if it belongs to no group of this name.

    Runs of forks have groups of their own, so that a fork can't delay or cancel trusted runs.
    """
    if wanted is None or name is None:
        return None
    if not trusted:
        name = f"{UNTRUSTED}{name}"
    elif name.startswith(UNTRUSTED):
        name = f"trusted: {name}"
    if len(name) > LONGEST_NAME:
        name = name[: LONGEST_NAME - 64] + hashlib.sha256(name.encode()).hexdigest()
    return Membership(name, wanted.limit, wanted.on_new, order_at)


def arrange(groups: Iterable[Group]) -> Arrangement:
    """Decides which runs of these groups get a place and which stop.

    Arranging groups that are already arranged changes nothing.
    """
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
    """Gives places in order of age; no run overtakes an older one that waits.

    A run that gets no place is rejected if its `on_new` is `reject`, otherwise it waits.
    """
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
