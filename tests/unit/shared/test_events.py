"""Tests of the event variables of user code: text only, without NUL, and bounded."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import (
    LONGEST_MESSAGE_BYTES,
    LONGEST_VARIABLE_BYTES,
    Event,
    EventKind,
    Execution,
    environment,
)

EXECUTION = Execution(run_id=12, run_number=3, pipeline="web-ci", job="test", attempt=1)


def test_a_push_of_a_branch() -> None:
    event = Event(
        kind=EventKind.PUSH,
        repository="octo/web",
        trusted=True,
        ref="refs/heads/main",
        branch="main",
        sha="a" * 40,
        sender_login="mona",
    )
    assert environment(event, EXECUTION) == {
        "CI": "true",
        "TOWPATH": "true",
        "TOWPATH_EVENT": "push",
        "TOWPATH_REPOSITORY": "octo/web",
        "TOWPATH_REF": "refs/heads/main",
        "TOWPATH_BRANCH": "main",
        "TOWPATH_SHA": "a" * 40,
        "TOWPATH_SENDER": "mona",
        "TOWPATH_TRUSTED": "true",
        "TOWPATH_PIPELINE": "web-ci",
        "TOWPATH_RUN_ID": "12",
        "TOWPATH_RUN_NUMBER": "3",
        "TOWPATH_JOB": "test",
        "TOWPATH_ATTEMPT": "1",
    }


def test_a_pull_request_adds_its_number_and_base() -> None:
    event = Event(
        kind=EventKind.PULL_REQUEST,
        repository="octo/web",
        trusted=False,
        action="opened",
        pull_request=7,
        base_branch="main",
        title="It's $(done)",
    )
    seen = environment(event, EXECUTION)
    assert (
        seen["TOWPATH_PULL_REQUEST"],
        seen["TOWPATH_BASE_BRANCH"],
        seen["TOWPATH_TITLE"],
        seen["TOWPATH_TRUSTED"],
    ) == ("7", "main", "It's $(done)", "false")


def test_an_event_comes_back_from_its_row() -> None:
    event = Event(kind=EventKind.TAG, repository="octo/web", trusted=True, tag="v1", sha="a" * 40)
    row = {name: getattr(event, name) for name in Event.__slots__} | {
        "kind": "tag",
        "id": 5,
        "created_at": None,
    }
    assert Event.from_row(row) == event


PUSH = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True)


@pytest.mark.parametrize(
    ("message", "seen", "is_cut"),
    [
        ("", "", False),
        ("m" * 32_768, "m" * 32_768, False),
        ("m" * 32_769, "m" * 32_768, True),
        ("\N{EURO SIGN}" * 60_000, "\N{EURO SIGN}" * (32_768 // 3), True),
        ("\N{ROWBOAT}" * 60_000, "\N{ROWBOAT}" * 8_192, True),
        ("m" + "\N{ROWBOAT}" * 60_000, "m" + "\N{ROWBOAT}" * 8_191, True),
    ],
)
def test_a12_a_long_message_is_cut_at_a_character_and_marked(message: str, seen: str, is_cut: bool) -> None:
    variables = environment(replace(PUSH, message=message), EXECUTION)
    assert variables["TOWPATH_MESSAGE"] == seen
    assert variables.get("TOWPATH_MESSAGE_TRUNCATED") == ("true" if is_cut else None)


@pytest.mark.parametrize(("title", "is_cut"), [("t" * 4096, False), ("t" * 4097, True)])
def test_a12_a_long_title_is_marked_too(title: str, is_cut: bool) -> None:
    variables = environment(replace(PUSH, title=title), EXECUTION)
    assert len(variables["TOWPATH_TITLE"]) == 4096
    assert variables.get("TOWPATH_TITLE_TRUNCATED") == ("true" if is_cut else None)


@given(st.text(), st.text(min_size=1))
def test_a12_only_what_is_cut_is_marked(text: str, branch: str) -> None:
    event = replace(PUSH, title=text * 300, message=text * 3000, branch=branch)
    variables = environment(event, EXECUTION)
    for name, whole in (("TITLE", text * 300), ("MESSAGE", text * 3000)):
        is_whole = variables[f"TOWPATH_{name}"] == whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
        assert is_whole is (f"TOWPATH_{name}_TRUNCATED" not in variables)


@given(st.text(), st.text(min_size=1))
def test_any_text_fits_a_variable(title: str, branch: str) -> None:
    event = Event(
        kind=EventKind.PUSH,
        repository="octo/web",
        trusted=True,
        title=title * 300,
        message=title * 3000,
        branch=branch,
    )
    for name, value in environment(event, EXECUTION).items():
        assert "\0" not in value
        longest = LONGEST_MESSAGE_BYTES if name == "TOWPATH_MESSAGE" else LONGEST_VARIABLE_BYTES
        assert len(value.encode()) <= longest
