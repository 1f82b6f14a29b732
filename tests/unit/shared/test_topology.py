"""Tests of the topology: every message with a receiver has a queue, and no queue drops messages silently."""

import re

import pytest

from shared.messaging import topology
from shared.messaging.messages import DeliveryKept, Message
from tests.unit.shared.test_messages import ONE_OF_EACH

QUEUES = (*topology.FIXED, topology.executor_queue("local"))


def is_bound(key: str, routing_key: str) -> bool:
    """Return whether a topic exchange routes to this binding: `*` is one word, `#` any number of words."""
    pattern = re.escape(key).replace(r"\*", "[^.]+").replace(r"\.\#", r"(\..+)?")
    return re.fullmatch(pattern, routing_key) is not None


PUBLISHED_BY_KEY = [m for m in ONE_OF_EACH if not isinstance(m, DeliveryKept)]
"""All messages except the one whose sender names its queue."""


@pytest.mark.parametrize(
    "message", [m for m in PUBLISHED_BY_KEY if m.must_route], ids=lambda message: message.type
)
def test_what_must_be_heard_has_a_queue(message: Message) -> None:
    assert any(is_bound(key, message.routing_key) for queue in QUEUES for key in queue.keys)


@pytest.mark.parametrize(
    "message", [m for m in ONE_OF_EACH if not m.must_route], ids=lambda message: message.type
)
def test_what_need_not_be_heard_goes_to_live_views_only(message: Message) -> None:
    assert any(is_bound(key, message.routing_key) for key in topology.LIVE_KEYS)
    assert not any(is_bound(key, message.routing_key) for queue in QUEUES for key in queue.keys)


def test_clusters_do_not_share_a_queue() -> None:
    east, west = topology.executor_queue("east"), topology.executor_queue("west")
    assert east.name != west.name
    assert not set(east.keys) & set(west.keys)


@pytest.mark.parametrize("queue", QUEUES, ids=lambda queue: queue.name)
def test_every_queue_survives_a_broker_and_refuses_rather_than_drops(queue: topology.Queue) -> None:
    assert queue.arguments["x-queue-type"] == "quorum"
    assert queue.arguments["x-overflow"] == "reject-publish"
    assert "x-message-ttl" not in queue.arguments


@pytest.mark.parametrize(
    "queue", [q for q in QUEUES if q is not topology.INLET], ids=lambda queue: queue.name
)
def test_poison_ends_in_the_queues_own_dead_letters(queue: topology.Queue) -> None:
    assert queue.arguments["x-delivery-limit"] == 5
    assert queue.arguments["x-dead-letter-routing-key"] == queue.dead_name
    assert queue.arguments["x-dead-letter-strategy"] == "at-least-once"


def test_the_inlet_never_gives_a_webhook_up() -> None:
    assert "x-dead-letter-exchange" not in topology.INLET.arguments
    assert topology.INLET.arguments["x-delivery-limit"] == 2_000_000_000
    assert topology.INLET.arguments["x-max-length-bytes"] == 1 << 30
