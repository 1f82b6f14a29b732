"""Tests of expressions in a group's name that are empty for an event that starts the pipeline."""

import pytest

from shared.events import Event, EventKind, context
from shared.expressions import parse_template, render
from shared.pipeline import empty_groups
from shared.pipeline.load import load

DOCUMENTED = "${{ event.ref }}"
SHA = "a" * 40
EVENTS = {
    "branch": Event(
        kind=EventKind.PUSH,
        repository="octo/web",
        trusted=True,
        ref="refs/heads/12",
        branch="12",
        sha=SHA,
        sender_login="ada",
    ),
    "tag": Event(
        kind=EventKind.TAG,
        repository="octo/web",
        trusted=True,
        ref="refs/tags/12",
        tag="12",
        sha=SHA,
        sender_login="ada",
    ),
    "pull_request": Event(
        kind=EventKind.PULL_REQUEST,
        repository="octo/web",
        trusted=True,
        action="opened",
        branch="topic",
        base_branch="main",
        pull_request=12,
        title="Add a door",
        sha=SHA,
        sender_login="ada",
    ),
}


def found(group: str, on: str) -> list[tuple[str, str]]:
    concurrency = f'concurrency: {{ group: "{group}" }}'
    jobs = "jobs: { only: { steps: [{ run: ':' }] } }"
    pipeline = load(f"version: 1\nrepository: octo/web\non: {{ {on} }}\n{concurrency}\n{jobs}\n")
    return empty_groups.find(pipeline.concurrency, pipeline.on)


@pytest.mark.parametrize(
    ("group", "on", "expected"),
    [
        (
            "${{ event.pull_request || event.branch }}",
            "push: {}",
            [("${{ event.pull_request || event.branch }}", "tag")],
        ),
        ("${{ event.branch }}", "push: { branches: [main] }", []),
        ("${{event.branch}}", "push: { tags: ['v*'] }", [("${{event.branch}}", "tag")]),
        ("${{ event.tag }}", "push: {}", [("${{ event.tag }}", "branch")]),
        ("${{ event.tag }}", "push: { branches: [main], tags: ['v*'] }", [("${{ event.tag }}", "branch")]),
        ("${{ event.ref }}", "pull_request: {}, push: {}", []),
        ("${{ event.tag }}", "pull_request: {}", [("${{ event.tag }}", "pull_request")]),
        ("x${{ event.action }}", "push: {}", [("${{ event.action }}", kind) for kind in ("branch", "tag")]),
        ("${{ event.tag || 'none' }}", "push: {}", []),
        ("${{ event.branch || '' }}", "push: { tags: ['v*'] }", [("${{ event.branch || '' }}", "tag")]),
        ("deploy", "push: {}", []),
        (DOCUMENTED, "push: {}, pull_request: {}", []),
    ],
)
def test_a06_an_expression_that_is_empty_for_a_trigger_is_found(
    group: str,
    on: str,
    expected: list[tuple[str, str]],
) -> None:
    assert found(group, on) == expected


@pytest.mark.parametrize("kind", EVENTS)
def test_a06_the_fields_of_each_kind_are_those_of_its_events(kind: str) -> None:
    assert empty_groups.FIELDS[kind] == {
        name for name, value in context(EVENTS[kind]).items() if value is not None
    }


def test_a06_the_documented_group_is_another_for_each_branch_tag_and_pull_request() -> None:
    names = {render(parse_template(DOCUMENTED), {"event": context(event)}) for event in EVENTS.values()}
    assert names == {"refs/heads/12", "refs/tags/12", "refs/pull/12"}
