"""Tests of `towpath dead-letters`: list, show and replay."""

from typing import Any

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told

LETTER: dict[str, Any] = {
    "id": 4,
    "queue": "scheduler.deliveries",
    "cause": "rejected",
    "explanation": "Nothing will make it right.",
    "type": "delivery.accepted",
    "about": {"type": "delivery.accepted", "id": "abc", "delivery_ids": [7]},
    "message_bytes": 90,
    "can_be_replayed": True,
    "died_at": "2026-11-23T12:00:00.000000Z",
    "created_at": "2026-11-23T12:00:00.000000Z",
    "replayed_at": None,
    "replayed_by": None,
}


def test_open_letters_are_listed_by_queue(api: FakeApi, towpath: Towpath) -> None:
    api.answer(
        "GET",
        "/dead-letters",
        Told(body={"items": [LETTER, {**LETTER, "id": 3, "type": ""}], "next_cursor": None}),
    )
    result = towpath("dead-letters", "list", "--queue", "scheduler.deliveries", "--state", "open")
    assert {"queue": "scheduler.deliveries", "state": "open"}.items() <= api.asked[0].query.items()
    assert [line.split()[:2] for line in result.out.splitlines()[1:]] == [
        ["4", "scheduler.deliveries"],
        ["3", "scheduler.deliveries"],
    ]
    assert "no message" in result.out


def test_a_letter_says_why_and_what_about(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/dead-letters/4", Told(body=LETTER))
    out = towpath("dead-letters", "show", "4").out
    assert "Nothing will make it right." in out
    assert "delivery_ids" in out
    assert "7" in out


def test_a_letter_is_replayed(api: FakeApi, towpath: Towpath) -> None:
    api.answer("POST", "/dead-letters/4/replay", Told(body={**LETTER, "replayed_at": LETTER["died_at"]}))
    result = towpath("dead-letters", "replay", "4")
    assert (result.exit_code, result.out) == (0, "replayed 4\n")
