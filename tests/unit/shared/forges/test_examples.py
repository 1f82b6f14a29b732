"""Tests with GitHub's own examples.

Every push and pull request is normalised as the table says. No example of any event raises an error.
"""

import orjson
import pytest

from shared.events import Event, Ignored
from shared.forges import ForgeRepository, normalise
from shared.matching import Circumstances, decide
from shared.pipeline.load import load
from tests.payloads import events, examples
from tests.payloads.expectations import EXPECTATIONS, FORGE_ID, PIPELINE, REPOSITORY, Expectation

HEADERS = {"content-type": "application/json"}


@pytest.mark.parametrize("expected", EXPECTATIONS, ids=lambda expected: expected.name)
def test_an_example_becomes_what_the_table_says(expected: Expectation) -> None:
    body = dict(examples(expected.event_type))[expected.name]
    reading = normalise("github", expected.event_type, HEADERS, orjson.dumps(body))
    assert reading.repository == ForgeRepository("github", FORGE_ID, REPOSITORY)
    if isinstance(reading.said, Ignored):
        assert expected.outcome == "ignored"
        return
    assert expected.outcome == "event"
    assert {name: getattr(reading.said, name) for name in expected.fields} == expected.fields
    decision = decide(reading.said, load(PIPELINE), Circumstances((REPOSITORY,), owner_may_use=True))
    assert (decision.outcome, decision.reasons[0].code) == (expected.decision, expected.code)


def test_the_table_has_every_example_of_a_push_and_a_pull_request() -> None:
    assert [expected.name for expected in EXPECTATIONS] == [
        name for event in ("push", "pull_request") for name, _ in examples(event)
    ]


@pytest.mark.parametrize("sent_as", ["github", "gitea"])
def test_every_other_example_is_ignored_with_a_reason(sent_as: str) -> None:
    for event in set(events()) - {"push", "pull_request"}:
        for name, body in examples(event):
            said = normalise(sent_as, event, HEADERS, orjson.dumps(body)).said
            assert isinstance(said, Ignored), name
            assert said.reason.endswith(".")


def test_pushes_carry_the_forges_own_time_and_the_sender() -> None:
    said = normalise("github", "push", HEADERS, orjson.dumps(dict(examples("push"))["push-4"])).said
    assert isinstance(said, Event)
    assert said.happened_at is not None
    assert (said.happened_at.isoformat(), said.sender_login, said.sender_id) == (
        "2019-05-15T15:20:57+00:00",
        "Codertocat",
        21031067,
    )
