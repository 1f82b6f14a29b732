"""Tests of `ObjectCache`: it holds the last observed state of each object, also of deleted ones for a
while.
"""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from services.executor.kubernetes.object_cache import KEPT_GONE_SECONDS, EventType, ObjectCache


@dataclass(frozen=True)
class Thing:
    uid: str
    attempt_id: int
    stage: str = "waiting"
    version: int = field(default=0, compare=False)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def cache(clock: Clock | None = None) -> ObjectCache[Thing]:
    return ObjectCache(lambda thing: thing.stage, clock or Clock())


def shown(ours: ObjectCache[Thing], attempt: int) -> dict[str, bool]:
    """Return the uids of an attempt's objects, and whether each is deleted."""
    return {held.seen.uid: held.gone_at is not None for held in ours.of(attempt)}


def test_what_says_nothing_new_is_no_change() -> None:
    ours = cache()
    assert ours.told("ADDED", Thing("a", 1)) == {1}
    assert ours.told("MODIFIED", Thing("a", 1, version=2)) == set()
    assert ours.told("MODIFIED", Thing("a", 1, "running")) == {1}


def test_a_deleted_object_stays_as_it_was_last_seen() -> None:
    ours = cache()
    ours.told("ADDED", Thing("a", 1))
    assert ours.told("DELETED", Thing("a", 1, "evicted")) == {1}
    assert [(held.seen.stage, held.gone_at) for held in ours.of(1)] == [("evicted", 0.0)]
    assert ours.attempts() == set()
    assert ours.told("DELETED", Thing("a", 1, "evicted")) == set()


def test_what_a_list_does_not_name_is_gone() -> None:
    ours = cache()
    ours.told("ADDED", Thing("a", 1))
    ours.told("ADDED", Thing("b", 2))
    assert ours.listed([Thing("b", 2), Thing("c", 1)]) == {1}
    assert shown(ours, 1) == {"a": True, "c": False}
    assert ours.attempts() == {1, 2}


def test_what_is_gone_is_forgotten_in_the_end() -> None:
    clock = Clock()
    ours = cache(clock)
    ours.told("ADDED", Thing("a", 1))
    ours.told("DELETED", Thing("a", 1))
    clock.now = KEPT_GONE_SECONDS
    ours.listed([])
    assert shown(ours, 1) == {"a": True}
    clock.now += 1
    ours.listed([])
    assert shown(ours, 1) == {}


def test_an_attempt_nobody_asks_for_keeps_only_what_is_there() -> None:
    ours = cache()
    ours.told("ADDED", Thing("a", 1))
    ours.told("ADDED", Thing("b", 1))
    ours.told("DELETED", Thing("a", 1))
    ours.forget(1)
    assert shown(ours, 1) == {"b": False}


def test_time_counts_from_the_last_change_of_the_stage() -> None:
    clock = Clock()
    ours = cache(clock)
    ours.told("ADDED", Thing("a", 1))
    clock.now = 5.0
    ours.told("MODIFIED", Thing("a", 1, version=9))
    assert [held.since for held in ours.of(1)] == [0.0]
    ours.told("MODIFIED", Thing("a", 1, "running"))
    assert [held.since for held in ours.of(1)] == [5.0]


THINGS = st.builds(
    Thing,
    uid=st.sampled_from("abcdef"),
    attempt_id=st.just(0),
    stage=st.sampled_from(["waiting", "running", "ended"]),
)
"""`owned` derives the attempt from the uid, so that an object always belongs to the same attempt."""
STEPS = st.lists(
    st.tuples(st.sampled_from(["ADDED", "MODIFIED", "DELETED"]), THINGS)
    | st.lists(THINGS, unique_by=lambda thing: thing.uid),
    max_size=30,
)


def owned(thing: Thing) -> Thing:
    return Thing(thing.uid, ord(thing.uid) % 3, thing.stage)


@given(STEPS)
def test_after_any_events_and_lists_the_mirror_shows_the_world(
    steps: list[tuple[EventType, Thing] | list[Thing]],
) -> None:
    ours, world = cache(), dict[str, Thing]()
    for step in steps:
        before = dict(world)
        if isinstance(step, list):
            world = {thing.uid: owned(thing) for thing in step}
            changed = ours.listed(world.values())
        else:
            event, thing = step[0], owned(step[1])
            world.pop(thing.uid, None)
            if event != "DELETED":
                world[thing.uid] = thing
            changed = ours.told(event, thing)
        different = {uid for uid in before.keys() | world.keys() if before.get(uid) != world.get(uid)}
        assert changed >= {ord(uid) % 3 for uid in different}
    there = {
        held.seen.uid: held.seen for attempt in range(3) for held in ours.of(attempt) if held.gone_at is None
    }
    assert there == world
    assert ours.attempts() == {thing.attempt_id for thing in world.values()}
