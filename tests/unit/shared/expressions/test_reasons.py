"""Explanations: the names and calls that decided a value, and those that did not."""

from typing import Any

import pytest

from shared.expressions import Value, because, explain, parse, to_text, with_status

CONTEXTS: dict[str, Value] = {
    "event": {"type": "push", "branch": "main", "labels": ["a"]},
    "needs": {"test": {"result": "failed"}, "3.12": {"result": "success"}},
    "matrix": {"job": "test"},
    "secrets": {"TOKEN": "hunter2"},
}
STATUS: dict[str, Any] = {"success": lambda: False, "failure": lambda: True}


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("needs.test.result == 'success'", [("needs.test.result", "failed")]),
        ("event.type == 'push' && needs.test.result == 'success'", [("needs.test.result", "failed")]),
        ("needs.test.result == 'success' && event.type == 'push'", [("needs.test.result", "failed")]),
        (
            "event.type == 'push' && event.branch == 'main'",
            [("event.type", "push"), ("event.branch", "main")],
        ),
        ("event.type == 'x' || event.branch == 'main'", [("event.branch", "main")]),
        ("event.type == 'x' || event.branch == 'y'", [("event.type", "push"), ("event.branch", "main")]),
        ("!success()", [("success()", False)]),
        ("success() || failure() && event.type == 'push'", [("failure()", True), ("event.type", "push")]),
        ("needs[matrix.job].result", [("matrix.job", "test"), ("needs.test.result", "failed")]),
        ("needs['3.12'].result", [("needs['3.12'].result", "success")]),
        ("contains(event.branch, 'ai')", [("event.branch", "main")]),
        ("event.type == 'push' && event.type == 'push'", [("event.type", "push")]),
        ("missing.x", [("missing.x", None)]),
        ("secrets.TOKEN == 'x'", [("secrets.TOKEN", "***")]),
        ("'a' == 'b'", []),
    ],
)
def test_only_what_decided_is_a_reason(text: str, reasons: list[tuple[str, Value]]) -> None:
    assert list(because(parse(text), CONTEXTS, STATUS)) == reasons


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "${{ needs.test.result == 'success' }}",
            "if: needs.test.result == 'success' → false because needs.test.result = 'failed'",
        ),
        (
            "event.type=='push'&&event.branch",
            (
                "if: event.type == 'push' && event.branch → true "
                "because event.type = 'push' and event.branch = 'main'"
            ),
        ),
        ("always.x", "if: always.x → false because always.x = null"),
        ("event.labels", "if: event.labels → true because event.labels = a list"),
        ("event", "if: event → true because event = a mapping"),
        ("true", "if: true → true"),
    ],
)
def test_a_value_is_explained_in_a_sentence(text: str, sentence: str) -> None:
    assert explain(text, CONTEXTS, STATUS) == sentence


def test_long_and_harmful_values_are_shortened() -> None:
    sentence = explain("event.x", {"event": {"x": "\x1b[2J" + "y" * 1000}}, key="jobs.a.if")
    assert sentence.startswith("jobs.a.if: event.x → true because event.x = '\\x1b[2J")
    assert len(sentence) < 120


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("event.x == 'y'", "success() && event.x == 'y'"),
        ("a && b", "success() && a && b"),
        ("a || b", "success() && (a || b)"),
        ("failure()", "failure()"),
        ("a && (b || always())", "a && (b || always())"),
    ],
)
def test_a_condition_without_a_status_function_needs_success(text: str, whole: str) -> None:
    assert to_text(with_status(parse(text))) == whole
    assert with_status(parse(text)) == parse(whole)
