"""Tests of texts with event data.

Every accepted text can be filled in. The name of a branch affects only the group of that branch.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Event, EventKind, fields
from shared.pipeline.errors import BadValue
from shared.pipeline.templates import EVENT_FIELDS, filled, template

EVENT = {"branch": "main", "repository": "octo/web", "pull_request": "", "tag": ""}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("deploy", "deploy"),
        ("${{ event.branch }}", "main"),
        ("${{event.branch}}", "main"),
        ("${{ event.repository }}:${{ event.pull_request || event.branch }}", "octo/web:main"),
        ("a ${{ event.tag }} b", "a  b"),
        ("${{ event.tag || 'it''s none' }}", "it's none"),
        ("${{ '' || 'x' || event.branch }}", "x"),
        ("costs $5 }} {{ $", "costs $5 }} {{ $"),
    ],
)
def test_fields_of_the_event_stand_in_their_places(text: str, expected: str) -> None:
    assert filled(template(text), EVENT) == expected


def test_a_pull_request_comes_before_its_branch() -> None:
    assert filled("${{ event.pull_request || event.branch }}", EVENT | {"pull_request": "7"}) == "7"


def test_what_an_event_says_is_never_read_as_a_template() -> None:
    assert filled("${{ event.branch }}", {"branch": "${{ event.tag }}", "tag": "v1"}) == "${{ event.tag }}"


def test_an_unknown_field_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadValue) as refused:
        template("${{ event.brnch }}")
    assert 'Did you mean "branch"?' in refused.value.message


@given(st.text(st.sampled_from("${} 'x|event.branch"), max_size=40))
def test_what_is_accepted_can_be_filled_in(text: str) -> None:
    try:
        accepted = template(text)
    except BadValue:
        return
    assert isinstance(filled(accepted, EVENT), str)


def test_every_field_that_may_be_named_is_filled() -> None:
    event = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True)
    assert set(fields(event)) == set(EVENT_FIELDS)
