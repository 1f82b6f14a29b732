"""Tests of a soak's report and of its decision whether all promises were kept."""

import pytest

from tests.chaos.checks import Findings
from tests.chaos.load import Journal, Sent
from tests.chaos.recovery import Outage
from tests.chaos.report import Report, Soak, report
from tests.chaos.trouble import Injected

KILL, PAUSE = Outage("broker killed", 1, 2), Outage("broker paused", 5, 9)


def made(found: Findings | None = None, recovered: float = 1.0, events: int = 1) -> Report:
    journal = Journal(events=[Sent("short", f"sha-{number}", "d", 0.0) for number in range(events)])
    injected = Injected(
        ("broker killed", "broker paused"),
        [KILL, KILL, PAUSE],
        [PAUSE],
        1,
        ["broker paused: x"],
        ["a full disk: no mounts"],
    )
    return report(
        Soak(7, 300, 0.5, {"postgresql": "15"}),
        journal,
        found or Findings(),
        injected,
        [(KILL, recovered), (PAUSE, 0.5)],
    )


def test_it_counts_what_was_done_and_what_came_out() -> None:
    told = made().as_json()
    assert (told["seed"], told["cycles"], told["faults"], told["events"]) == (
        7,
        2,
        {"broker killed": 2, "broker paused": 1},
        1,
    )
    assert (told["lost"], told["doubled"], told["stuck"], told["as_promised"]) == (0, 0, 0, True)
    assert (told["recovery_p50_seconds"], told["recovery_max_seconds"], told["recovery_max_kind"]) == (
        0.75,
        1.0,
        "broker killed",
    )
    assert told["machine"]["postgresql"] == "15"


@pytest.mark.parametrize(
    "name", ["lost", "doubled", "stuck", "untrue", "log_errors", "illegal", "overlap", "violations"]
)
def test_one_of_anything_is_too_many(name: str) -> None:
    found = Findings()
    getattr(found, name).append("one")
    assert not made(found).is_as_promised
    assert "one" in found.sentences()[0]


def test_a_late_recovery_and_an_empty_soak_are_not_as_promised() -> None:
    assert not made(recovered=35.5).is_as_promised
    assert not made(recovered=7.0).is_as_promised  # half of the recoveries took longer than three seconds
    assert not made(events=0).is_as_promised


def test_the_table_names_every_kind_of_fault_and_what_was_left_out() -> None:
    lines = made().table().splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("  broker")] == ["2", "1"]
    assert [line for line in lines if "left out" in line and "no mounts" in line] != []


def test_a_kind_that_never_came_counts_as_the_least() -> None:
    report_of = Injected(("broker killed", "broker paused"), [KILL]).counts()
    assert report_of == {"broker killed": 1, "broker paused": 0}
    assert made().least == 1
    assert made().longest_seconds == {"broker killed": 1, "broker paused": 4}
    assert made().as_json()["faults_of_each_kind_at_least"] == 1
