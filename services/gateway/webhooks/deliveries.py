"""The stored form of a delivery, and its conversion to and from a message of the fallback queue."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import zstandard

from shared.messaging.messages import DeliveryKept

LARGE_BYTES = 256 * 1024
"""Hashing and compressing a body of this size or more would block the event loop for too long."""

_compressor = zstandard.ZstdCompressor(level=1)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One verified HTTP POST of a forge, in its stored form."""

    source: str
    delivery_id: str
    event_type: str
    headers: Mapping[str, str]
    body: bytes
    """The raw bytes, compressed with zstd."""
    body_sha256: bytes
    body_bytes: int
    hook_key: str | None
    received_at: datetime
    traceparent: str | None = None
    """The trace that begins with this POST (`shared.tracing`); None if an earlier release accepted it."""
    via_inlet: bool = False


@dataclass(frozen=True, slots=True)
class Envelope:
    """The fields of a delivery except its body."""

    source: str
    delivery_id: str
    event_type: str
    headers: Mapping[str, str]
    hook_key: str | None
    received_at: datetime
    traceparent: str | None = None


def sealed(envelope: Envelope, raw: bytes) -> Delivery:
    """Create a delivery from its envelope and its raw bytes.

    Bodies smaller than `LARGE_BYTES` share one compressor, so they must not be compressed in several threads
    at once.
    """
    compressor = _compressor if len(raw) < LARGE_BYTES else zstandard.ZstdCompressor(level=1)
    return Delivery(
        source=envelope.source,
        delivery_id=envelope.delivery_id,
        event_type=envelope.event_type,
        headers=envelope.headers,
        body=compressor.compress(raw),
        body_sha256=hashlib.sha256(raw).digest(),
        body_bytes=len(raw),
        hook_key=envelope.hook_key,
        received_at=envelope.received_at,
        traceparent=envelope.traceparent,
    )


def to_message(delivery: Delivery) -> DeliveryKept:
    return DeliveryKept(
        source=delivery.source,
        delivery_id=delivery.delivery_id,
        event_type=delivery.event_type,
        headers=dict(delivery.headers),
        body=base64.b64encode(delivery.body).decode(),
        body_sha256=delivery.body_sha256.hex(),
        body_bytes=delivery.body_bytes,
        hook_key=delivery.hook_key,
        received_at=delivery.received_at,
        traceparent=delivery.traceparent,
    )


def from_message(message: DeliveryKept) -> Delivery:
    return Delivery(
        source=message.source,
        delivery_id=message.delivery_id,
        event_type=message.event_type,
        headers=message.headers,
        body=base64.b64decode(message.body),
        body_sha256=bytes.fromhex(message.body_sha256),
        body_bytes=message.body_bytes,
        hook_key=message.hook_key,
        received_at=message.received_at,
        traceparent=message.traceparent,
        via_inlet=True,
    )
