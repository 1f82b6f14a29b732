"""Tests of the report. A failure is shown with its reason, never as a number."""

import json
from datetime import UTC, datetime
from pathlib import Path

from bench.figures import Failed, Measured, Row
from bench.report import Line, lines_of, table, write

WEBHOOKS = Row("B1", "webhooks accepted", "1/s", "higher", 3000, 60)
STEADY = Row("B1_steady", "p99 at a pace", "ms", "lower", 20, 60, has_reference=False)
LATENCY = Row("B2", "webhook to run", "s", "lower", 0.05, 60)
LINES = lines_of(
    [WEBHOOKS, STEADY, LATENCY],
    {"B1": Measured(3300, {"p99_ms": 9.5}), "B1_steady": Measured(31), "B2": Failed("no run")},
    {"B1": Measured(30)},
)


def test_a_line_holds_value_reference_ratio_and_details() -> None:
    found = LINES[0].as_json()
    assert (
        found["value"],
        found["reference"],
        found["ratio"],
        found["goal"],
        found["reached"],
        found["p99_ms"],
    ) == (3300, 30, 110, 3000, True, 9.5)


def test_a_figure_that_could_not_be_taken_is_null_and_has_its_reason() -> None:
    found = LINES[2].as_json()
    assert (found["value"], found["reached"], found["ratio"], found["failed"]) == (None, None, None, "no run")


def test_what_a_side_left_out_has_failed() -> None:
    assert LINES[2].reference == Failed("not measured")
    assert [line.failed for line in LINES] == [False, False, True]


def test_a_row_without_a_reference_does_not_fail_for_want_of_it() -> None:
    assert LINES[1].reference is None
    assert not LINES[1].failed


def test_a_failure_of_the_reference_fails_the_line() -> None:
    assert Line(WEBHOOKS, Measured(3300), Failed("it did not start")).failed


def test_the_table_shows_each_figure_its_goal_and_the_reasons() -> None:
    shown = table(LINES).splitlines()
    assert [line.split()[0] for line in shown[1:4]] == ["B1", "B1_steady", "B2"]
    assert shown[1].split()[-5:] == ["110", "x", "≥", "3000", "reached"]
    assert shown[2].split()[-1] == "missed"
    assert shown[4:] == ["B2 failed: no run", "B2 failed at Buildbot: not measured"]


def test_results_are_kept_by_moment_and_as_the_latest(tmp_path: Path) -> None:
    latest, dated = write(
        tmp_path / "results", LINES, {"cores": 2}, datetime(2026, 1, 31, 12, 0, 5, tzinfo=UTC)
    )
    assert (latest.name, dated.name) == ("latest.json", "2026-01-31-120005.json")
    assert latest.read_text() == dated.read_text()
    found = json.loads(latest.read_text())
    assert list(found) == ["B1", "B1_steady", "B2", "about"]
    assert found["about"] == {"at": "2026-01-31T12:00:05+00:00", "cores": 2}
