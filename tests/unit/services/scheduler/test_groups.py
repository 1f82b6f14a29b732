"""Tests of concurrency groups: the runs that enter, and the runs that are stopped.

There are never more than the limit. An older run never starts after a newer one that replaces it.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.concurrency import LONGEST_NAME, Arrangement, Group, Member, Stop, arrange, membership
from services.scheduler.planning import plan
from shared.events import Event, EventKind
from shared.pipeline.load import load
from shared.pipeline.model import OnNew
from shared.statuses import Reason
from tests.unit.shared.pipeline.documents import with_top

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENT = Event(kind=EventKind.PUSH, repository="octo/web", branch="main", trusted=True)


def member(
    run_id: int,
    *,
    on_new: OnNew = "queue",
    entered: bool = False,
    limit: int = 1,
    minute: int | None = None,
    stopping: bool = False,
) -> Member:
    age = (NOON + timedelta(minutes=run_id if minute is None else minute), run_id)
    return Member(id=run_id, age=age, limit=limit, on_new=on_new, entered=entered, stopping=stopping)


def group(*members: Member, over: tuple[Member, ...] = ()) -> Group:
    """Return a group. The members that are over still determine which one is the newest."""
    newest = {
        policy: max((one.age for one in (*members, *over) if one.on_new == policy), default=None)
        for policy in ("cancel_older", "keep_latest_pending")
    }
    return Group(members, newest["cancel_older"], newest["keep_latest_pending"])


def superseded(run_id: int, by: int) -> Stop:
    return Stop(run_id, Reason.SUPERSEDED, f"run:{by}")


CASES = {
    "a free place is taken": (group(member(1)), Arrangement((1,))),
    "the oldest comes first": (group(member(2), member(1)), Arrangement((1,))),
    "as many as the limit": (
        group(member(1, limit=2), member(2, limit=2), member(3, limit=2)),
        Arrangement((1, 2)),
    ),
    "a full group waits": (group(member(1, entered=True), member(2)), Arrangement()),
    "one that was asked to stop keeps its place": (
        group(member(1, entered=True, stopping=True), member(2, on_new="cancel_older")),
        Arrangement(),
    ),
    "nobody overtakes one that waits": (
        group(member(1, entered=True), member(2), member(3, limit=5)),
        Arrangement(),
    ),
    "a newer one stops those under way": (
        group(member(1, entered=True), member(2, on_new="cancel_older")),
        Arrangement((), (superseded(1, 2),)),
    ),
    "a newer one stops those that wait": (
        group(member(1, entered=True, stopping=True), member(2), member(3, on_new="cancel_older")),
        Arrangement((), (superseded(2, 3),)),
    ),
    "only waiting ones make way for the latest": (
        group(
            member(1, entered=True),
            member(2, on_new="keep_latest_pending"),
            member(3, on_new="keep_latest_pending"),
        ),
        Arrangement((), (superseded(2, 3),)),
    ),
    "one that comes late is stopped for one under way": (
        group(member(1, on_new="cancel_older", entered=True), member(2, on_new="cancel_older", minute=0)),
        Arrangement((), (superseded(2, 1),)),
    ),
    "one that comes late is stopped for one that is over": (
        group(member(2, minute=0), over=(member(1, on_new="cancel_older"),)),
        Arrangement((), (superseded(2, 1),)),
    ),
    "of two at the same time the one that came later is newer": (
        group(member(1, on_new="cancel_older", minute=5), member(2, on_new="cancel_older", minute=5)),
        Arrangement((2,), (superseded(1, 2),)),
    ),
    "without a free place it is rejected": (
        group(member(1, entered=True), member(2, on_new="reject")),
        Arrangement((), (Stop(2, Reason.REJECTED, "group"),)),
    ),
    "with a free place it is not": (group(member(1, on_new="reject")), Arrangement((1,))),
    "of two that would be rejected one gets the place": (
        group(member(1, on_new="reject"), member(2, on_new="reject")),
        Arrangement((1,), (Stop(2, Reason.REJECTED, "group"),)),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_group_is_arranged(name: str) -> None:
    given_group, expected = CASES[name]
    assert arrange([given_group]) == expected


POLICIES: tuple[OnNew, ...] = ("queue", "cancel_older", "keep_latest_pending", "reject")
_rows = st.tuples(
    st.sampled_from(POLICIES), st.booleans(), st.integers(1, 3), st.integers(0, 4), st.booleans()
)


@st.composite
def members(draw: st.DrawFn) -> list[Member]:
    """Draw up to seven members in any state."""
    rows = draw(st.lists(_rows, max_size=7))
    return [
        member(
            run_id, on_new=on_new, entered=entered, limit=limit, minute=minute, stopping=stopping and entered
        )
        for run_id, (on_new, entered, limit, minute, stopping) in enumerate(rows, start=1)
    ]


def after(found: Group, arrangement: Arrangement) -> Group:
    """Return the group that admission sees next.

    Stopped members that were waiting are over; stopped members that were running are stopping.
    """
    stopped = {stop.run_id for stop in arrangement.stop}
    left = [
        replace(
            one,
            entered=one.entered or one.id in arrangement.enter,
            stopping=one.stopping or one.id in stopped,
        )
        for one in found.members
        if one.entered or one.id not in stopped
    ]
    return replace(found, members=tuple(left))


@given(members())
def test_places_are_never_exceeded_by_who_enters(found: list[Member]) -> None:
    there = group(*found)
    arrangement = arrange([there])
    taken = sum(one.entered for one in found)
    for place, run_id in enumerate(arrangement.enter, start=taken + 1):
        assert place <= next(one.limit for one in found if one.id == run_id)
    assert not set(arrangement.enter) & {stop.run_id for stop in arrangement.stop}


@given(members())
def test_what_is_arranged_stays_as_it_is(found: list[Member]) -> None:
    there = group(*found)
    assert arrange([after(there, arrange([there]))]) == Arrangement()


@given(members())
def test_somebody_always_gets_a_free_place(found: list[Member]) -> None:
    """A group never stays empty while a run waits, even if many are stopped."""
    there = group(*found)
    settled = after(there, arrange([there]))
    assert not settled.members or any(one.entered for one in settled.members)


def test_a_group_is_named_by_the_event() -> None:
    pipeline = load(
        with_top(
            "concurrency: { group: '${{ event.repository }}:${{ event.branch }}', on_new: reject, limit: 3 }"
        )
    )
    found = membership(pipeline.concurrency, plan(pipeline, EVENT, NOON).group, NOON)
    assert found is not None
    assert (found.group, found.limit, found.on_new, found.order_at) == ("octo/web:main", 3, "reject", NOON)
    alone = load(with_top("env: { A: b }"))
    assert membership(alone.concurrency, plan(alone, EVENT, NOON).group, NOON) is None


def test_long_names_stay_different() -> None:
    pipeline = load(with_top("concurrency: { group: '${{ event.branch }}' }"))
    names = [
        found.group for end in "ab" if (found := membership(pipeline.concurrency, "x" * 5000 + end, NOON))
    ]
    assert len(set(names)) == 2
    assert all(len(name) == LONGEST_NAME for name in names)
