"""Tests of the status machine.

Terminal statuses never change, and each reason belongs to one status. The schema, the document and the code
agree.
"""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from shared.events import EventKind
from shared.statuses import (
    ATTEMPT_MOVES,
    MOVES,
    REASONS_OF,
    TERMINAL,
    AttemptStatus,
    Reason,
    Status,
    WaitingFor,
)

SCHEMA = Path(__file__).parents[3] / "shared/database/sql"


def test_the_terminal_statuses_are_the_five_ends() -> None:
    assert {"success", "failed", "cancelled", "error", "skipped"} == TERMINAL


def test_every_status_says_where_it_may_go() -> None:
    assert set(MOVES) == set(Status)
    assert set(ATTEMPT_MOVES) == set(AttemptStatus)


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_terminal_status_never_moves(status: Status) -> None:
    assert MOVES[status] == frozenset()


@pytest.mark.parametrize("status", [status for status in Status if status not in TERMINAL])
def test_from_every_open_status_there_is_a_way_to_every_verdict(status: Status) -> None:
    assert MOVES[status] >= {Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.ERROR}


def test_nothing_goes_back_but_what_is_tried_again() -> None:
    back = set()
    for moves in (MOVES, ATTEMPT_MOVES):
        order = {status: position for position, status in enumerate(moves)}
        back |= {
            (before, after)
            for before, onward in moves.items()
            for after in onward
            if order[after] <= order[before]
        }
    assert back == {(Status.RUNNING, Status.PENDING)}


def test_what_started_is_never_skipped() -> None:
    assert Status.SKIPPED not in MOVES[Status.RUNNING]


def test_a_claimed_attempt_only_finishes() -> None:
    assert ATTEMPT_MOVES[AttemptStatus.CLAIMED] == {AttemptStatus.FINISHED}


def test_every_reason_belongs_to_exactly_one_status() -> None:
    belonging = [reason for reasons in REASONS_OF.values() for reason in reasons]
    assert sorted(belonging) == sorted(Reason)


def test_only_ends_have_reasons_and_success_has_none() -> None:
    assert set(REASONS_OF) == TERMINAL - {Status.SUCCESS}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("status", Status),
        ("attempt_status", AttemptStatus),
        ("reason", Reason),
        ("waiting_for", WaitingFor),
        ("event_kind", EventKind),
    ],
)
def test_the_schema_has_the_same_words_in_the_same_order(name: str, words: type[StrEnum]) -> None:
    applied = "".join(path.read_text(encoding="utf-8") for path in sorted(SCHEMA.glob("*.sql")))
    found = re.findall(rf"CREATE TYPE {name} AS ENUM \((.*?)\);", applied, re.DOTALL)
    stored = re.findall(r"'(\w+)'", found[-1])
    for word, before in re.findall(rf"ALTER TYPE {name} ADD VALUE '(\w+)' AFTER '(\w+)'", applied):
        stored.insert(stored.index(before) + 1, word)
    assert stored == [word.value for word in words]
