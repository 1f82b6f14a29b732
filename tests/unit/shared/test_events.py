"""What user code sees of an event: all of it text, free of NUL, and bounded."""

from hypothesis import given
from hypothesis import strategies as st

from shared.events import LONGEST_VARIABLE_BYTES, Event, EventKind, Execution, environment

EXECUTION = Execution(run_id=12, run_number=3, pipeline="web-ci", job="test", attempt=1)


def test_a_push_of_a_branch() -> None:
    event = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True, ref="refs/heads/main", branch="main", sha="a" * 40, sender_login="mona")
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
    event = Event(kind=EventKind.PULL_REQUEST, repository="octo/web", trusted=False, action="opened", pull_request=7, base_branch="main", title="It's $(done)")
    seen = environment(event, EXECUTION)
    assert (seen["TOWPATH_PULL_REQUEST"], seen["TOWPATH_BASE_BRANCH"], seen["TOWPATH_TITLE"], seen["TOWPATH_TRUSTED"]) == ("7", "main", "It's $(done)", "false")


def test_an_event_comes_back_from_its_row() -> None:
    event = Event(kind=EventKind.TAG, repository="octo/web", trusted=True, tag="v1", sha="a" * 40)
    row = {name: getattr(event, name) for name in Event.__slots__} | {"kind": "tag", "id": 5, "created_at": None}
    assert Event.from_row(row) == event


@given(st.text(), st.text(min_size=1))
def test_any_text_fits_a_variable(title: str, branch: str) -> None:
    event = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True, title=title * 300, branch=branch)
    for value in environment(event, EXECUTION).values():
        assert "\0" not in value
        assert len(value.encode()) <= LONGEST_VARIABLE_BYTES
