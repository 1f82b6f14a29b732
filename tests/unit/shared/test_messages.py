"""Tests of messages: they arrive as they were sent, and each kind of unreadable message is recognised."""

import typing
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.messaging.messages import (
    AttemptCancelRequested,
    AttemptClaimed,
    AttemptFinished,
    AttemptReady,
    CommandApplied,
    CommandRequested,
    ContainerStarted,
    DeliveryAccepted,
    DeliveryKept,
    LogAppended,
    LogSealed,
    Message,
    RefResolved,
    RefWanted,
    RunCreated,
    RunFinished,
    RunStarted,
    decode,
    encode,
    type_of,
)

ONE_OF_EACH: tuple[Message, ...] = (
    DeliveryAccepted(delivery_ids=(1, 2)),
    DeliveryKept(
        source="github",
        delivery_id="a",
        event_type="push",
        headers={"x-github-event": "push"},
        body="eA==",
        body_sha256="00",
        body_bytes=1,
        received_at=datetime(2026, 11, 23, tzinfo=UTC),
    ),
    CommandRequested(command_ids=(3,)),
    CommandApplied(command_ids=(3,)),
    RunCreated(run_ids=(4,)),
    RunStarted(run_ids=(4,)),
    RunFinished(run_ids=(4,)),
    AttemptReady(cluster="local", jobs=((5, 1), (6, 2))),
    AttemptCancelRequested(cluster="local", jobs=((5, 1),)),
    AttemptClaimed(attempt_ids=(7,)),
    AttemptFinished(attempt_ids=(7,)),
    ContainerStarted(attempt_ids=(7,)),
    LogSealed(cluster="local", attempt_ids=(7,)),
    RefWanted(cluster="local", event_ids=(9,)),
    RefResolved(event_ids=(9,)),
    LogAppended(appended=((8, 4, 100),)),
)


def test_the_examples_name_every_type() -> None:
    assert {type(message) for message in ONE_OF_EACH} == set(typing.get_args(Message))


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.type)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    assert decode(encode(message)) == message


def test_no_two_messages_have_one_id() -> None:
    assert RunCreated(run_ids=(1,)).id != RunCreated(run_ids=(1,)).id


def test_a_message_says_when_in_utc() -> None:
    assert RunCreated(run_ids=(1,)).occurred_at.utcoffset() == timedelta()
    assert datetime.fromisoformat(orjson.loads(encode(RunCreated(run_ids=(1,))))["occurred_at"]).tzinfo


def test_fields_of_a_later_release_are_ignored() -> None:
    message = RunCreated(run_ids=(1,))
    assert decode(orjson.dumps(orjson.loads(encode(message)) | {"colour": "blue"})) == message


def test_a_type_of_a_later_release_is_none() -> None:
    assert decode(b'{"type": "run.painted", "run_ids": [1]}') is None
    assert type_of(b'{"type": "run.painted", "run_ids": [1]}') == "run.painted"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b"{}",
        b'{"run_ids": [1]}',
        b'{"type": "run.created"}',
        b'{"type": "run.created", "run_ids": "many"}',
        b'{"type": "run.created", "run_ids": [1.5]}',
        b'{"type": "attempt.ready", "cluster": "local", "jobs": [[1]]}',
        b"\xff\xfe",
        b"[" * 50_000,
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        decode(body)


@given(st.binary(max_size=200))
def test_no_bytes_do_more_than_be_refused(body: bytes) -> None:
    try:
        decode(body)
    except ValueError:
        assert isinstance(type_of(body), str)


@pytest.mark.parametrize("message", ONE_OF_EACH, ids=lambda message: message.type)
def test_what_one_cluster_is_to_hear_names_it_in_the_routing_key(message: Message) -> None:
    cluster = getattr(message, "cluster", None)
    assert message.routing_key == (f"{message.type}.{cluster}" if cluster else message.type)
