"""Tests of the summary of profiler samples."""

from bench.profile import summary


def test_functions_are_listed_by_their_own_time_and_with_what_they_call() -> None:
    shown = summary(["main;handle;verify 30", "main;handle;commit 60", "main;wait 10"]).splitlines()
    assert shown[:3] == ["100 samples at work", "", "own time"]
    assert shown[3:6] == ["  60.0 %  commit", "  30.0 %  verify", "  10.0 %  wait"]
    assert shown[7:10] == ["with what they call", "  90.0 %  handle", "  60.0 %  commit"]


def test_a_function_that_calls_itself_counts_once_a_sample() -> None:
    assert "  80.0 %  walk" in summary(["main;walk;walk;walk 4", "main;wait 1"]).splitlines()


def test_what_only_frames_the_rest_is_left_out() -> None:
    assert "main" not in summary(["main;handle 3", "main;wait 1"]).split("with what they call")[1]


def test_a_process_that_did_nothing_has_an_empty_summary() -> None:
    assert summary([]).startswith("0 samples")


def test_waiting_is_no_work() -> None:
    shown = summary(["main;EpollSelector.select (selectors.py:451) 96", "main;handle 4"]).splitlines()
    assert shown[0] == "4 samples at work"
    assert " 100.0 %  handle" in shown
