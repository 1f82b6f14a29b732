"""Tests that a delivery passes the inlet unchanged."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.webhooks.deliveries import Envelope, from_message, sealed, to_message
from shared.messaging.messages import decode, encode

AT = datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)


@given(st.binary(max_size=3000), st.none() | st.just("key"))
def test_a_delivery_goes_through_the_inlet_unchanged(raw: bytes, hook_key: str | None) -> None:
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    envelope = Envelope("github", "d-1", "push", {"x-github-event": "push"}, hook_key, AT, trace)
    delivery = sealed(envelope, raw)
    message = decode(encode(to_message(delivery)))
    assert message is not None
    assert message.type == "delivery.kept"
    assert from_message(message) == replace(delivery, via_inlet=True)
    assert zstandard.decompress(delivery.body) == raw
    assert (delivery.body_sha256, delivery.body_bytes) == (hashlib.sha256(raw).digest(), len(raw))
