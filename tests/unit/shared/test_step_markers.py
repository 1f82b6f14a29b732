"""Tests of step markers: they are found only with the nonce, and removed without a trace."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import step_markers
from shared.step_markers import StepBegin, StepEnd

NONCE = step_markers.nonce("token")
END = f"::towpath-{NONCE}::end 3 0\n".encode()


def test_a_marker_is_read_back() -> None:
    line = step_markers.begin(NONCE, 3, "unit tests").encode() + b"\n"
    assert step_markers.parse(line, NONCE) == StepBegin(3, "unit tests")
    assert step_markers.parse(END, NONCE) == StepEnd(3, 0)
    for letter, outcome in (
        ("s", "success"),
        ("f", "failed"),
        ("t", "timed_out"),
        ("x", "cancelled"),
        ("?", None),
        ("", None),
        ("s t", None),
    ):
        assert step_markers.parse(f"::towpath-{NONCE}::end 3 124 {letter}\n".encode(), NONCE) == StepEnd(
            3, 124, outcome
        )
    for wrong in (
        "end 3 t",
        "end x 0",
        f"end {'9' * 5000} 0",
        f"end 1 {'9' * 5000}",
        f"begin {'9' * 5000} x",
        "end 1",
    ):
        assert step_markers.parse(f"::towpath-{NONCE}::{wrong}\n".encode(), NONCE) is None


def test_a_marker_behind_output_without_a_line_feed_is_found() -> None:
    assert step_markers.parse(b"no line feed" + END, NONCE) == StepEnd(3, 0)


def test_another_attempts_marker_is_text() -> None:
    assert step_markers.parse(END, step_markers.nonce("another")) is None
    assert step_markers.strip(END, step_markers.nonce("another")) == END


def test_the_nonce_does_not_show_the_token() -> None:
    assert "token" not in NONCE
    assert len(NONCE) == 16


@pytest.mark.parametrize(
    ("termination", "step"),
    [
        ("", None),
        ("\ndriver\nover", None),
        ("\ndriver\n1 ", None),
        ("\ndriver\n1 12 s0\nover", 1),
        ("\ndriver\n1 12 s0\n3 40 f1\nover\nlimit", 3),
        ("\ndriver\n1 - s0\n2 ", 1),
        ("\ndriver\n9999 1 s0\n1 12 s0\n2 13 t124\nover", 2),
        ("\ndriver\n1 text of a script 12 s0\nover", None),
        ("The clone was stopped.", None),
    ],
)
def test_the_last_step_that_ended_is_in_the_drivers_file(termination: str, step: int | None) -> None:
    assert step_markers.last_ended(termination) == step


@given(st.text())
def test_a_name_takes_one_line(name: str) -> None:
    line = step_markers.begin(NONCE, 1, name)
    assert len(line.splitlines()) == 1


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_cutting_markers_out_gives_back_what_the_steps_wrote(outputs: list[bytes]) -> None:
    log = b"".join(
        step_markers.begin(NONCE, index, "a step").encode()
        + b"\n"
        + output
        + f"::towpath-{NONCE}::end {index} 0\n".encode()
        for index, output in enumerate(outputs, 1)
    )
    assert step_markers.strip(log, NONCE) == b"".join(outputs)


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        ('{"ok":true}' + "END" + "BEGIN" + "Compiling\n", '{"ok":true}\nCompiling\n'),
        ("whole\n" + "END" + "BEGIN" + "Compiling\n", "whole\nCompiling\n"),
        ("END" + "BEGIN" + "Compiling\n", "Compiling\n"),
        ("50 %\r" + "END" + "BEGIN" + "100 %\r" + "END", "50 %\r\n100 %\r\n"),
        ("empty line\n\n" + "END", "empty line\n\n"),
    ],
)
def test_a15_where_lines_are_broken_no_step_continues_the_line_of_another(log: str, shown: str) -> None:
    begin = step_markers.begin(NONCE, 4, "build") + "\n"
    marked = log.replace("END", END.decode()).replace("BEGIN", begin).encode()
    assert step_markers.strip(marked, NONCE, break_lines=True) == shown.encode()
