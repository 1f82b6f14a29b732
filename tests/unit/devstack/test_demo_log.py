"""Tests of the demo's display of a live log."""

from typing import Any

from devstack.demo_log import LogPrinter, harmless


def printed(*events: tuple[str, dict[str, Any]]) -> tuple[list[str], list[bool]]:
    lines: list[str] = []
    printer = LogPrinter(lines.append)
    return lines, [printer.show(kind, data) for kind, data in events]


def place(job: str = "test", attempt: int = 1, container: str = "job") -> dict[str, Any]:
    return {"stream": 1, "job": job, "attempt": attempt, "container": container}


def test_each_container_and_step_has_a_heading_once() -> None:
    lines, over = printed(
        ("status", {"status": "running", "reason": None}),
        ("lines", {**place(container="clone"), "lines": ["fetched"]}),
        ("step", {**place(), "phase": "begin", "index": 1, "name": "unit tests"}),
        ("lines", {**place(), "lines": ["one", "two"]}),
        ("step", {**place(), "phase": "end", "index": 1, "exit_code": 0}),
        ("end", {"status": "success", "reason": None}),
    )
    assert lines == ["[test] checkout", "    fetched", "[test] job", "  > unit tests", "    one", "    two"]
    assert over == [False] * 5 + [True]


def test_a_failed_step_shows_its_exit_code() -> None:
    lines, _ = printed(("step", {**place(attempt=2), "phase": "end", "index": 1, "exit_code": 3}))
    assert lines == ["[test, attempt 2] job", "  > ended with exit code 3"]


def test_what_a_job_prints_cannot_drive_the_terminal() -> None:
    assert harmless("\x1b]52;c;AAAA\x07a\x9b31m\tb\r") == "]52;c;AAAAa31m\tb"
