"""The pure parts of the dashboard: colours of logs, rows, the graph, the waterfall and the sentences."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.logs.log_lines import chunk_of
from services.gateway.web import sentences
from services.gateway.web.ansi import LONGEST, pieces
from services.gateway.web.graph import layout
from services.gateway.web.log_rows import StepLines, add_steps, rows_of
from services.gateway.web.pages import is_own_path
from services.gateway.web.rendering import ago, duration, render
from services.gateway.web.timeline import bar_of, scale_of
from shared.statuses import Reason, Status, WaitingFor

AT = "2026-11-20T10:00:{:02}.000000Z"
NONCE = "0123456789abcdef"


def job(key: str, status: str = "success", **fields: Any) -> dict[str, Any]:
    empty = {"reason": None, "message": None, "waiting_for": None, "place": None, "flaky": False}
    return {
        "key": key,
        "name": key,
        "status": status,
        "needs": [],
        "matrix": {},
        "attempts": [],
        **empty,
        **fields,
    }


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("plain", [("", "plain")]),
        ("\x1b[32mok\x1b[0m done", [("c2", "ok"), ("", " done")]),
        ("\x1b[1;31mbad\x1b[22m still", [("c1 ab", "bad"), ("c1", " still")]),
        ("\x1b[38;5;196mred\x1b[39m \x1b[38;2;0;200;0mgreen", [("c1", "red"), ("", " "), ("c2", "green")]),
        ("\x1b[97;41mon\x1b[49m", [("c7 g", "on")]),
        ("\x1b[2J\x1b[1;1H\x1b[Kmoved", [("", "moved")]),
        ("\x1b]8;;https://evil.example\x1b\\link\x1b]8;;\x1b\\", [("", "link")]),
        ("\x1b]0;title\x07text", [("", "text")]),
        ("10 %\r50 %\r100 %\r", [("", "100 %")]),
        ("<script>alert(1)</script>", [("", "<script>alert(1)</script>")]),
        ("a\x00b\x07c\u202ed", [("", "a\ufffdb\ufffdc\ufffdd")]),
    ],
)
def test_a_line_keeps_its_colours_and_nothing_else(line: str, wanted: list[tuple[str, str]]) -> None:
    assert pieces(line) == wanted


@given(st.text(alphabet=st.sampled_from("\x1b[]0123456789;:mKHJ\x07\\\r<b a\x9b"), max_size=200))
def test_no_line_leaves_control_characters_or_foreign_classes(line: str) -> None:
    for classes, text in pieces(line):
        assert re.fullmatch(r"(?:(?:c[0-7]|g|a[bdiu])(?: |$))*", classes)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", text)


def test_a_long_line_is_cut() -> None:
    assert sum(len(text) for _, text in pieces("x" * 1_000_000)) < LONGEST + 100


def log() -> bytes:
    lines = [f"::towpath-{NONCE}::begin 1 install", "one", f"::towpath-{NONCE}::end 1 0 s"]
    lines += [f"::towpath-{NONCE}::begin 2 test", "::group::all", "two", "::endgroup::", "::error::it broke"]
    lines += ["no line feed" + f"::towpath-{NONCE}::end 2 1 f", "[a gap]"]
    return "\n".join(lines).encode() + b"\n"


def test_rows_have_their_numbers_and_kinds_without_markers() -> None:
    rows = rows_of([chunk_of(1, log())], 1, 100, NONCE, frozenset({10}))
    assert [(row.number, row.kind, "".join(text for _, text in row.pieces)) for row in rows] == [
        (2, "", "one"),
        (5, "group", "all"),
        (6, "", "two"),
        (8, "bad", "it broke"),
        (9, "", "no line feed"),
        (10, "gap", "[a gap]"),
    ]
    assert [row.number for row in rows_of([chunk_of(1, log())], 5, 7, NONCE, frozenset())] == [5, 6]


def test_steps_have_the_lines_of_their_markers() -> None:
    steps: list[StepLines] = []
    add_steps(steps, chunk_of(1, log()), NONCE)
    assert steps == [StepLines(1, "install", 1, 3), StepLines(2, "test", 4, 9)]


def test_the_graph_has_a_column_for_each_level_and_one_box_for_a_matrix() -> None:
    tests = [job(f"test ({one})", matrix={"python": one}, needs=["build"]) for one in ("3.11", "3.12")]
    tests[1]["status"] = "failed"
    deploy = job("deploy", "skipped", needs=["test (3.11)", "test (3.12)", "lint"])
    graph = layout([job("build"), job("lint"), *tests, deploy])
    assert graph is not None
    assert [(box.title, box.status, len(box.keys)) for box in graph.boxes] == [
        ("build", "success", 1),
        ("lint", "success", 1),
        ("test", "failed", 2),
        ("deploy", "skipped", 1),
    ]
    columns = {box.title: box.x for box in graph.boxes}
    assert columns["build"] == columns["lint"] < columns["test"] < columns["deploy"]
    assert len(graph.edges) == 3


def test_jobs_without_needs_have_no_graph() -> None:
    assert layout([job("a"), job("b")]) is None


def test_a_bar_keeps_waiting_apart_from_running() -> None:
    run = {"created_at": AT.format(0), "finished_at": AT.format(10)}
    attempt = {
        "number": 1,
        "created_at": AT.format(2),
        "claimed_at": AT.format(4),
        "started_at": AT.format(5),
    }
    attempt["finished_at"] = AT.format(10)
    bar = bar_of(job("a", ready_at=AT.format(1), finished_at=None), attempt, scale_of(run, datetime.now(UTC)))
    assert (bar.queue_x, bar.queue_width, bar.run_x, bar.run_width) == (100, 400, 500, 500)
    assert (bar.queue_seconds, bar.run_seconds) == (4.0, 5.0)


def test_every_status_reason_and_wait_has_words() -> None:
    assert set(sentences.WORDS) == set(Status)
    assert set(sentences.REASONS) == set(Reason)
    assert set(sentences.WAITING) == set(WaitingFor)


STEPS = [
    {"name": "install", "outcome": "success", "exit_code": 0},
    {"name": "pytest", "outcome": "failed", "exit_code": 2},
]
FAILED = job("test", "failed", reason="script_failed", attempts=[{"steps": STEPS}])


@pytest.mark.parametrize(
    ("status", "reason", "jobs", "sentence"),
    [
        ("failed", "script_failed", [FAILED, job("b")], "Failed: job test, step “pytest” exited 2."),
        ("success", None, [job("a"), job("b", "skipped")], "Succeeded: 1 job."),
        ("running", None, [job("a"), job("b", "running")], "Running: b. 1 of 2 jobs ended."),
        ("cancelled", "superseded", [job("a", "cancelled")], "Cancelled: a newer run took its place."),
        (
            "pending",
            None,
            [job("a", "pending", waiting_for="slot", place=3)],
            "Waiting: job a waits for a free slot; 3 jobs before it.",
        ),
        (
            "error",
            "image_missing",
            [job("a", "error", reason="image_missing", message="no such tag")],
            "Error: job a, its image does not exist: no such tag.",
        ),
    ],
)
def test_a_run_says_its_reason_in_a_sentence(
    status: str, reason: str | None, jobs: list[Any], sentence: str
) -> None:
    assert sentences.run_sentence({"status": status, "reason": reason, "jobs": jobs}) == sentence


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.04, "0.0 s"), (12.4, "12 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_times_are_relative() -> None:
    now = datetime(2026, 11, 20, 12, 0, 0, tzinfo=UTC)
    assert [
        ago(f"2026-11-{at}Z", now) for at in ("20T11:59:50", "20T11:58:00", "20T11:00:00", "17T12:00:00")
    ] == [
        "just now",
        "2 minutes ago",
        "1 hour ago",
        "3 days ago",
    ]


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/runs", "/ui/\\evil", "/ui/\nx", "ui/"]
)
def test_only_pages_of_the_dashboard_are_places_to_go_on(path: str) -> None:
    assert not is_own_path(path)


def test_templates_escape_what_they_show() -> None:
    values = {"me": None, "csrf": "", "address": "/ui/login", "next": '"><script>', "error": "<b>"}
    page = render("login.html", **values)
    assert "<script>\n" not in page
    assert "&lt;b&gt;" in page
    assert "&#34;&gt;&lt;script&gt;" in page
