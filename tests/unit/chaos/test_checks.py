"""Tests of the checks of a soak: each check finds the fault that it is made for."""

from typing import Any, cast

import pytest

from tests.chaos.checks import (
    Findings,
    Told,
    _check_events,
    _check_groups,
    _check_retries,
    _check_starts,
    _illegal_moves,
    read_oracle,
    waits,
)
from tests.chaos.load import Journal, Load, Sent


class JournalOnly:
    """A load that has only its journal, the one part that the checks read."""

    def __init__(self, *events: Sent, retries: list[int] | None = None) -> None:
        self.journal = Journal(events=list(events), retries=retries or [])


def event(kind: str = "short", **fields: Any) -> Sent:
    return Sent(**{"kind": kind, "sha": "abc", "delivery_id": "d", "accepted_at": 0.0, **fields})


def run(status: str = "success", reason: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "id": 1,
        "sha": "abc",
        "rerun": 0,
        "retry_of": None,
        "status": status,
        "reason": reason,
        "message": None,
        **fields,
    }


ENDED = [Told("start", "abc", 1, "only", 1, 1.0), Told("end", "abc", 1, "only", 1, 2.0)]


def counts(sent: Sent, runs: list[dict[str, Any]], told: list[Told]) -> dict[str, int]:
    """Return the number of findings of each kind that was found."""
    found = Findings()
    _check_events(found, cast("Load", JournalOnly(sent)), {"abc": cast("Any", runs)}, told)
    return {name: count for name, count in found.counts().items() if count}


def test_what_is_as_promised_finds_nothing() -> None:
    assert counts(event(), [run()], ENDED) == {}


@pytest.mark.parametrize(
    ("runs", "told", "found"),
    [
        ([], [], {"lost": 1}),
        ([run(), run(id=2)], ENDED, {"doubled": 1}),
        ([run("running")], ENDED, {"stuck": 1}),
        ([run("error", "lost")], ENDED, {"untrue": 1}),
        ([run("failed", "timed_out")], ENDED, {"untrue": 1}),
        ([run("error", "platform")], ENDED, {"untrue": 1}),
        ([run("error", "platform")], [], {"platform_errors": 1}),
        ([run()], ENDED[:1], {"untrue": 1}),
    ],
    ids=[
        "lost",
        "doubled",
        "stuck",
        "error",
        "timed out",
        "platform after a start",
        "platform",
        "green without an end",
    ],
)
def test_each_wrong_end_has_its_name(
    runs: list[dict[str, Any]], told: list[Told], found: dict[str, int]
) -> None:
    assert counts(event(), runs, told) == found


def test_a_cancelled_run_may_end_either_way_and_no_other() -> None:
    assert counts(event(cancelled=True), [run("cancelled", "cancelled_by_user")], []) == {}
    assert counts(event(cancelled=True), [run()], ENDED) == {}
    assert counts(event(), [run("cancelled", "cancelled_by_user")], []) == {"untrue": 1}


NEWER = event("newest", sha="def", delivery_id="e", order=2)
OLDER = event("newest", order=1)
SUPERSEDED = run("cancelled", "superseded")


def ends_of_two(older: dict[str, Any], newer: dict[str, Any]) -> dict[str, int]:
    found = Findings()
    told = [*ENDED, Told("end", "def", 2, "only", 1, 4.0)]
    _check_events(
        found,
        cast("Load", JournalOnly(NEWER, OLDER)),
        {"abc": cast("Any", [older]), "def": cast("Any", [newer | {"sha": "def", "id": 2}])},
        told,
    )
    return {name: count for name, count in found.counts().items() if count}


def test_only_what_a_newer_push_came_after_may_be_superseded() -> None:
    assert ends_of_two(SUPERSEDED, run()) == {}
    assert ends_of_two(run(), run()) == {}
    assert ends_of_two(run(), SUPERSEDED)["untrue"] == 1
    assert counts(event("short"), [SUPERSEDED], [])["untrue"] == 1
    assert counts(event("queued"), [SUPERSEDED], [])["untrue"] == 1


def groups(*lines: str) -> dict[str, int]:
    found = Findings()
    told = read_oracle(
        [
            f"{what} {sha} {run_id} only 1 {number}.0"
            for number, (what, sha, run_id) in enumerate(line.split() for line in lines)
        ]
    )
    _check_groups(found, Journal(events=[OLDER, NEWER]), told)
    return {name: count for name, count in found.counts().items() if count}


def test_two_live_runs_of_a_group_are_found() -> None:
    assert groups("start abc 1", "alive abc 1", "end abc 1", "start def 2", "end def 2") == {}
    assert groups("start abc 1", "start def 2", "alive abc 1") == {"overlap": 1}
    assert groups("start abc 1", "overlap def 2", "start def 2", "end def 2") == {"overlap": 1}


def test_an_older_push_that_starts_after_a_newer_one_is_found() -> None:
    assert groups("start def 2", "start abc 1") == {"untrue": 1}


def test_what_is_heard_twice_was_said_once() -> None:
    assert (
        len(read_oracle(["start abc 1 only 1 1.5", "start abc 1 only 1 1.5", "start abc 1 only 1 2.5"])) == 2
    )


def test_who_queues_waits_from_the_end_of_the_one_before_and_who_may_be_superseded_not_at_all() -> None:
    first, second = event("queued", accepted_at=1.0), event("queued", sha="def", accepted_at=2.0)
    told = read_oracle(["start abc 1 only 1 3.0", "end abc 1 only 1 9.0", "start def 2 only 1 11.0"])
    assert [(wait.began_at, wait.ended_at) for wait in waits(Journal(events=[second, first]), told, {})] == [
        (1.0, 3.0),
        (9.0, 11.0),
    ]
    assert waits(Journal(events=[OLDER, NEWER]), told, {}) == []


def test_a_retry_makes_one_run() -> None:
    found = Findings()
    _check_retries(
        found, Journal(retries=[1, 2, 3]), cast("Any", [run(retry_of=1), run(retry_of=2), run(retry_of=2)])
    )
    assert (len(found.lost), len(found.doubled)) == (1, 1)


def test_user_code_that_starts_twice_and_attempts_that_live_at_once_are_found() -> None:
    found = Findings()
    _check_starts(found, [*ENDED, ENDED[0]])
    assert (len(found.doubled), len(found.overlap)) == (1, 0)
    found = Findings()
    lines = "start abc 1 only 1 1.0\nstart abc 1 only 2 2.0\nend abc 1 only 1 3.0\nend abc 1 only 2 4.0"
    _check_starts(found, read_oracle(lines.splitlines()))
    assert (len(found.doubled), len(found.overlap)) == (0, 1)


def moved(*moves: tuple[str | None, str]) -> list[Any]:
    return [
        {"what": "job 1", "is_attempt": False, "from_status": before, "to_status": after}
        for before, after in moves
    ]


def test_illegal_moves_and_holes_in_a_history_are_found() -> None:
    assert _illegal_moves(moved((None, "pending"), ("pending", "running"), ("running", "success"))) == []
    assert len(_illegal_moves(moved((None, "pending"), ("pending", "success"), ("success", "failed")))) == 1
    assert len(_illegal_moves(moved((None, "pending"), ("running", "success")))) == 1
