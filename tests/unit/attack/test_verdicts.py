"""Tests of the verdicts about attacks.

A row fails if webhooks are refused, slow or late, if memory grows too much, or if nothing was measured.
"""

from dataclasses import replace
from typing import Any

import pytest

from tests.attack.verdicts import QUIET, Phase, Row, line, memory_failures, rows_of, table

CALM = Phase(name=QUIET, answer_seconds=[0.01] * 100, start_seconds=[0.1, 0.1, 0.1], memory_bytes=100_000_000)
HELD = replace(CALM, name="X3", answers={"503": 7})
KEPT = Row(CALM, HELD, CALM)


def test_an_attack_that_others_do_not_feel_is_as_promised() -> None:
    assert KEPT.failures() == []
    assert "as promised" in table([CALM, HELD, CALM])
    assert "NOT" not in table([CALM, HELD, CALM])


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"answer_seconds": [0.01] * 98 + [0.26] * 2}, "p99 is 260 ms, at most 250 ms is promised."),
        (
            {"answer_seconds": [0.9] * 9, "late_seconds": 0.6},
            (
                "p99 is 900 ms, at most 250 ms is promised. The machine was busy: the second client itself "
                "was "
                "600 ms late."
            ),
        ),
        ({"refused": {"503": 2}}, "2 webhooks (X3) were not accepted: 503."),
        ({"start_seconds": [0.1, 0.201, 0.3]}, "A run starts after 201 ms, at most 200 ms is promised."),
        ({"not_started": 1}, "1 runs (X3) did not start."),
        ({"start_seconds": []}, "Nothing was measured (X3)."),
        ({"answer_seconds": []}, "Nothing was measured (X3)."),
        ({"answers": {}}, "The attackers got no answer, so this was no attack."),
    ],
)
def test_each_promise_that_is_not_kept_is_named(changed: dict[str, Any], sentence: str) -> None:
    row = Row(CALM, replace(HELD, **changed), CALM)
    assert " ".join(row.failures()) == sentence
    assert f"NOT AS PROMISED: {sentence}" in table([row.before, row.attacked, row.after])


@pytest.mark.parametrize(
    "changed", [{"answer_seconds": [0.01] * 99 + [0.25]}, {"start_seconds": [0.1, 0.2, 9.0]}]
)
def test_the_limit_itself_is_allowed(changed: dict[str, Any]) -> None:
    assert Row(CALM, replace(HELD, **changed), CALM).failures() == []


def test_on_a_slow_machine_three_times_the_quiet_time_is_allowed() -> None:
    slow = replace(CALM, answer_seconds=[0.2] * 100)
    row = Row(slow, replace(HELD, answer_seconds=[0.6] * 100), slow)
    assert row.p99_limit == pytest.approx(0.6)
    assert Row(slow, replace(HELD, answer_seconds=[0.61] * 100), slow).failures() != []


def test_the_quiet_times_are_those_before_and_after_the_attack() -> None:
    row = Row(CALM, replace(HELD, start_seconds=[0.5]), replace(CALM, start_seconds=[0.3] * 4))
    assert row.start_limit == pytest.approx(0.6)
    assert row.failures() == []


def test_a_quiet_phase_in_which_a_webhook_was_refused_fails_too() -> None:
    assert Row(CALM, HELD, replace(CALM, refused={"503": 1})).failures() == [
        "1 webhooks (quiet) were not accepted: 503."
    ]


def test_phases_alternate() -> None:
    other = replace(HELD, name="X4")
    assert rows_of([CALM, HELD, CALM, other, CALM]) == [Row(CALM, HELD, CALM), Row(CALM, other, CALM)]
    assert rows_of([CALM]) == []


def test_a_line_shows_the_figures_and_what_the_attackers_got() -> None:
    text = line(replace(HELD, refused={"503": 1}, load_average=4.25), KEPT)
    for cell in ("X3", "100/101", "10 ms", "250 ms", "100 ms", "200 ms", "100 MB", "4.2", "7 503"):
        assert cell in text


@pytest.mark.parametrize(("after", "is_kept"), [(150, True), (151, False), (0, False)])
def test_memory_is_compared_with_that_of_before(after: int, is_kept: bool) -> None:
    assert (memory_failures(100, after) == []) == is_kept


def test_the_facts_hold_every_figure_and_the_failures() -> None:
    facts = Row(CALM, replace(HELD, start_seconds=[1.0]), CALM).as_json()
    assert (facts["name"], facts["accepted"], facts["p99_seconds"], facts["start_median_seconds"]) == (
        "X3",
        100,
        0.01,
        1.0,
    )
    assert (facts["p99_limit_seconds"], facts["quiet_start_seconds"], facts["start_limit_seconds"]) == (
        0.25,
        0.1,
        0.2,
    )
    assert facts["failures"] == ["A run starts after 1000 ms, at most 200 ms is promised."]
