"""Tests of the measurement of recovery times."""

import pytest

from tests.chaos.recovery import Broken, Outage, Wait, recoveries

KILL = Outage("postgres killed", 10, 12)


def test_the_time_from_the_return_to_the_last_of_those_who_waited() -> None:
    assert Broken([KILL]).recovery_seconds(KILL, [Wait(11, 13), Wait(9, 15), Wait(12.5, 40)]) == 3


def test_who_was_served_before_the_return_or_came_after_it_does_not_count() -> None:
    assert Broken([KILL]).recovery_seconds(KILL, [Wait(9, 11), Wait(12.5, 13)]) is None


def test_time_in_which_something_else_was_broken_does_not_count() -> None:
    pause = Outage("broker paused", 13, 18)
    assert Broken([KILL, pause]).recovery_seconds(KILL, [Wait(11, 20)]) == 3


@pytest.mark.parametrize(
    ("outages", "seconds"),
    [
        ([], 10),
        ([(2, 4)], 8),
        ([(2, 6), (4, 8)], 4),
        ([(-5, 3)], 7),
        ([(8, 50)], 8),
        ([(-5, 50)], 0),
        ([(2, 4), (2, 4)], 8),
    ],
)
def test_broken_times_may_overlap(outages: list[tuple[float, float]], seconds: float) -> None:
    assert Broken(Outage("x", began, ended) for began, ended in outages).whole_seconds(0, 10) == seconds


def test_only_outages_that_held_somebody_up_have_a_recovery() -> None:
    quiet = Outage("queues purged", 100, 100)
    assert recoveries([KILL, quiet], [Wait(11, 13)]) == [(KILL, 1)]


def test_what_could_not_be_injected_was_broken_all_the_same_and_has_no_recovery_of_its_own() -> None:
    assert recoveries([KILL], [Wait(11, 20)], [Outage("broker paused", 13, 18)]) == [(KILL, 3)]
