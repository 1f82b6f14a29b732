"""Tests of logs at a terminal: they are sanitized, and continue after a lost connection."""

import random
from collections.abc import Iterator

import pytest

from cli.commands.run_logs import MOST_TRIES, reconnecting
from cli.errors import Refused, Unreachable
from cli.sse import ServerSentEvent
from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told, problem, sse

STREAM = "/runs/7/logs/stream"
JOBS = [{"key": key, "name": key} for key in ("test", "lint", "unit (3.10)", "unit (3.11)")]
OVER = {"id": 7, "status": "failed", "reason": "script_failed", "log_complete": True, "jobs": JOBS}
STEP = sse(
    "2:1",
    "step",
    {
        "stream": 1,
        "job": "lint",
        "attempt": 1,
        "container": "job",
        "line": 1,
        "phase": "begin",
        "index": 1,
        "name": "ruff\x1b[2J",
    },
)


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda _low, _high: 0)


def lines(event_id: str, *said: str, job: str = "test", first_line: int = 1) -> bytes:
    place = {"stream": 1, "job": job, "attempt": 1, "container": "job"}
    return sse(event_id, "lines", {**place, "first_line": first_line, "lines": list(said)})


def end(status: str, reason: str | None = None) -> bytes:
    return sse("9:9", "end", {"status": status, "reason": reason})


def test_a_stored_log_is_printed_inert(api: FakeApi, towpath: Towpath) -> None:
    api.answer(
        "GET",
        "/runs/7/logs",
        Told(body=b"one\n\x1b[31mtwo\x1b]0;x\x07\n\xff\x00three", content_type="text/plain"),
    )
    api.answer("GET", "/runs/7", Told(body=OVER))
    result = towpath("runs", "logs", "7", "--job", "test", "--attempt", "2")
    assert (result.exit_code, result.out) == (0, "one\ntwo\n\N{REPLACEMENT CHARACTER}three\n")
    assert api.asked[-1].query == {"job": "test", "attempt": "2"}


def test_a_stored_log_ends_with_the_verdict_aside(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/runs/7/logs", Told(body=b"one\n", content_type="text/plain"))
    api.answer("GET", "/runs/7", Told(body=OVER))
    result = towpath("runs", "logs", "7")
    assert (result.out, result.err) == ("one\n", "run 7: failed (script_failed)\n")


def test_at_a_terminal_the_log_of_a_run_that_is_over_has_its_steps(
    api: FakeApi, towpath: Towpath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    api.answer("GET", "/runs/7", Told(body=OVER))
    api.answer(
        "GET", STREAM, Told(body=STEP + lines("2:2", "yes", job="lint") + end("failed", "script_failed"))
    )
    result = towpath("runs", "logs", "7")
    assert (result.exit_code, result.out, result.err) == (
        0,
        "lint | --- ruff\nlint | yes\n",
        "run 7: failed (script_failed)\n",
    )


def test_the_verdict_is_said_once(api: FakeApi, towpath: Towpath) -> None:
    api.answer(
        "GET", STREAM, Told(body=sse("0:0", "status", {"status": "success", "reason": None}) + end("success"))
    )
    assert towpath("runs", "logs", "7", "--follow").err == "run 7: success\n"


@pytest.mark.parametrize(
    ("status", "exit_code"), [("success", 0), ("skipped", 0), ("failed", 1), ("error", 1), ("cancelled", 1)]
)
def test_following_ends_with_the_run_and_says_how(
    api: FakeApi, towpath: Towpath, status: str, exit_code: int
) -> None:
    api.answer(
        "GET", STREAM, Told(body=lines("1:2", "hello") + end(status, "why"), content_type="text/event-stream")
    )
    result = towpath("runs", "logs", "7", "--follow")
    assert (result.exit_code, result.out) == (exit_code, "test | hello\n")
    assert f"run 7: {status} (why)" in result.err


def test_a_lost_connection_is_gone_on_with_behind_the_last_event(api: FakeApi, towpath: Towpath) -> None:
    api.answer(
        "GET",
        STREAM,
        Told(body=lines("1:2", "one"), breaks_off=True),
        Told(503, problem(503, "unavailable", "later"), "application/problem+json"),
        Told(body=lines("1:3", "two", first_line=2)),
        Told(body=end("success")),
    )
    result = towpath("runs", "logs", "7", "--follow")
    assert (result.exit_code, result.out) == (0, "test | one\ntest | two\n")
    assert [asked.headers.get("last-event-id") for asked in api.asked] == [None, "1:2", "1:2", "1:3"]


@pytest.mark.parametrize("follow", [(), ("--follow",)])
@pytest.mark.parametrize(
    ("job", "jobs"),
    [
        ("tests", '"test", "lint", "unit (3.10)", "unit (3.11)"'),
        ("unit", '"unit (3.10)", "unit (3.11)"'),
    ],
)
def test_the_error_for_an_unknown_job_lists_those_of_the_run(
    api: FakeApi, towpath: Towpath, job: str, jobs: str, follow: tuple[str, ...]
) -> None:
    api.answer("GET", "/runs/7", Told(body=OVER))
    result = towpath("runs", "logs", "7", "--job", job, *follow)
    assert (result.exit_code, result.out) == (1, "")
    assert f'run 7 has no job "{job}"' in result.err
    assert f"it has {jobs}" in result.err


def test_only_the_job_asked_for_is_printed(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/runs/7", Told(body=OVER))
    api.answer(
        "GET", STREAM, Told(body=lines("1:2", "no") + STEP + lines("2:2", "yes", job="lint") + end("success"))
    )
    assert towpath("runs", "logs", "7", "-f", "--job", "lint").out == "--- ruff\nyes\n"


def test_a_run_that_is_not_there_is_not_asked_for_again(api: FakeApi, towpath: Towpath) -> None:
    assert towpath("runs", "logs", "8", "--follow").exit_code == 1
    assert len(api.asked) == 1


def test_an_api_that_stays_away_is_given_up() -> None:
    tries: list[str] = []
    slept: list[float] = []

    def connect(last_id: str) -> Iterator[ServerSentEvent]:
        tries.append(last_id)
        raise Unreachable("away")
        yield

    with pytest.raises(Unreachable):
        list(reconnecting(connect, slept.append))
    assert (len(tries), len(slept)) == (MOST_TRIES, MOST_TRIES - 1)


def test_tries_count_from_the_last_event_that_came() -> None:
    numbers = iter(range(3 * MOST_TRIES))

    def connect(_last_id: str) -> Iterator[ServerSentEvent]:
        number = next(numbers)
        if number % 5 == 0:
            yield ServerSentEvent(str(number), "end" if number == 2 * MOST_TRIES else "lines", "{}")
        else:
            raise Refused(503, {}, "GET x")

    assert [event.id for event in reconnecting(connect, lambda _: None)] == ["0", "5", "10", "15", "20"]


@pytest.mark.parametrize(
    ("ended", "said"),
    [
        ({"exit_code": 0, "outcome": "success"}, ""),
        ({"exit_code": 3, "outcome": "failed"}, "lint | --- exit code 3\n"),
        ({"exit_code": 124, "outcome": "timed_out"}, "lint | --- timed out\n"),
        ({"exit_code": 0, "outcome": "cancelled"}, "lint | --- stopped\n"),
        ({"exit_code": 3, "outcome": None}, "lint | --- exit code 3\n"),
        ({"exit_code": 3}, "lint | --- exit code 3\n"),
    ],
)
def test_a_step_that_ended_badly_says_how(
    api: FakeApi, towpath: Towpath, ended: dict[str, object], said: str
) -> None:
    place = {
        "stream": 1,
        "job": "lint",
        "attempt": 1,
        "container": "job",
        "line": 2,
        "phase": "end",
        "index": 1,
    }
    api.answer("GET", STREAM, Told(body=sse("1:3", "step", {**place, **ended}) + end("failed")))
    assert towpath("runs", "logs", "7", "--follow").out == said
