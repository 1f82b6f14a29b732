"""Tests of the reader of the step driver's notes, complete or cut."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.step_facts import (
    Interruption,
    StepFact,
    driver_began,
    job_timed_out,
    started_twice,
    step_facts,
)
from shared.pipeline.model import Step

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
KILLED = Interruption("cancelled", BEGAN + timedelta(seconds=9))


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def test_facts_have_names_codes_and_times() -> None:
    termination = "\ndriver\n1 200 f3\n3 950 t124\n4 \n9 1 s0\nnonsense\n01 1 s0\n2 x s0"
    steps = [
        Step(name="a", run="x"),
        Step(id="b", run="x"),
        Step(run="echo c\nmore"),
        Step(name="d", run="x"),
    ]
    assert step_facts(termination, steps, BEGAN, KILLED) == [
        StepFact("a", "failed", 3, BEGAN, after(2)),
        StepFact("b", "skipped"),
        StepFact("echo c", "timed_out", 124, after(2), after(9.5)),
        StepFact("d", "cancelled", None, after(9.5), KILLED.at),
    ]


def test_without_a_clock_there_are_no_times() -> None:
    assert step_facts("\ndriver\n1 - s0", [Step(name="a", run="x")], BEGAN, KILLED) == [
        StepFact("a", "success", 0, BEGAN, None)
    ]


@given(
    st.text()
    | st.lists(st.sampled_from(["driver", "over", "limit", "1 ", "1 2 s0", "1 999999999 f999"])).map(
        "\n".join
    ),
    st.integers(0, 255),
)
def test_any_termination_text_gives_facts(termination: str, exit_code: int) -> None:
    assert len(step_facts(termination, [Step(run="x")], BEGAN, Interruption("failed", None))) == 1
    assert not (started_twice(exit_code, termination) and driver_began(termination))


@pytest.mark.parametrize(
    "kept",
    ["\ndriver", "\ndriver\n1 ", "iver\n1 23 s0\n2 ", "garbage of a step\n7 12345 f1", "x\nover\nlimit"],
)
def test_any_line_of_the_driver_says_that_it_began(kept: str) -> None:
    assert driver_began(kept)
    assert not started_twice(97, kept)


def test_without_a_line_of_the_driver_nothing_says_that_it_began() -> None:
    assert not driver_began("")
    assert not driver_began("OCI runtime create failed: 1 driver limit")
    assert started_twice(97, "")
    assert not started_twice(1, "")


def test_the_jobs_limit_is_told_from_a_steps() -> None:
    assert job_timed_out(124, "\ndriver\n1 200 t124\nover\nlimit")
    assert not job_timed_out(124, "\ndriver\n1 200 t124")
    assert not job_timed_out(0, "\nlimit")


def test_what_a_hundred_long_steps_leave_fits_what_a_kubelet_keeps() -> None:
    assert (
        len(
            "\ndriver"
            + "".join(f"\n{index} {24 * 360_000} f137" for index in range(1, 101))
            + "\nover\nlimit"
        )
        < 4096 / 2
    )
