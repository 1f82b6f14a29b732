"""Tests of the merging of waiting messages."""

from shared.messaging.messages import (
    AttemptClaimed,
    AttemptReady,
    ContainerStarted,
    LogSealed,
    Message,
    merged,
)
from shared.messaging.outbox import together


def rows(*messages: Message) -> list[tuple[int, Message]]:
    return list(enumerate(messages))


def row_ids(*messages: Message) -> list[list[int]]:
    return [[row_id for row_id, _ in group] for group in together(rows(*messages))]


def test_messages_of_one_kind_leave_together() -> None:
    claimed, started = AttemptClaimed(attempt_ids=(1,)), ContainerStarted(attempt_ids=(1,))
    assert row_ids(claimed, started, claimed, started) == [[0, 2], [1, 3]]


def test_messages_for_two_clusters_stay_apart() -> None:
    here, there = LogSealed(cluster="here", attempt_ids=(1,)), LogSealed(cluster="there", attempt_ids=(2,))
    assert row_ids(here, there, here) == [[0, 2], [1]]


def test_admitted_jobs_keep_the_messages_that_admission_made() -> None:
    ready = AttemptReady(cluster="here", jobs=((1, 1),))
    assert row_ids(ready, ready) == [[0], [1]]


def test_a_merged_message_names_all_once_and_in_order() -> None:
    first = AttemptClaimed(attempt_ids=(3, 1))
    message = merged([first, AttemptClaimed(attempt_ids=(1, 2))])
    assert message == first.model_copy(update={"attempt_ids": (3, 1, 2)})


def test_one_message_alone_stays_as_it_is() -> None:
    ready = AttemptReady(cluster="here", jobs=((1, 1),))
    assert merged([ready]) is ready
