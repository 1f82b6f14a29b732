"""Moves dead letters from the broker to Postgres, where administrators can list and replay them.

A message has one row for each queue in which it died, even if it dies there several times. Replaying is safe
to repeat, because every handler is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from services.gateway.store import GatewayStore
from shared.messaging.messages import trace_of, type_of
from shared.messaging.raw_consumer import Arrived
from shared.tracing import fields

_log = structlog.get_logger()
_buried = Counter("towpath_dead_letters_total", "Messages that no handler could take", ["queue", "cause"])

MOST_DETAIL = 500


@dataclass(frozen=True, slots=True)
class Dead:
    """A message that could not be handled, with the cause."""

    body: bytes
    cause: str
    detail: str = ""


async def on_dead(store: GatewayStore, queue: str, arrived: Sequence[Arrived]) -> None:
    """Store messages from the dead letter queue of `queue`.

    Raises Transient if Postgres is unavailable. The broker then keeps the messages.
    """
    await bury(store, queue, [Dead(one.body, one.cause or "rejected") for one in arrived])


async def on_unreadable(store: GatewayStore, arrived: Sequence[Arrived]) -> None:
    """Store messages that services could not read from their outboxes.

    Raises Transient if Postgres is unavailable. The broker then keeps the messages.
    """
    await bury(
        store,
        "outbox",
        [Dead(one.body, "unreadable", "A service had stored it to be published.") for one in arrived],
    )


async def bury(store: GatewayStore, queue: str, letters: Sequence[Dead]) -> None:
    """Store these dead letters. A letter that was replayed becomes open again. Raises Transient."""
    async with store.transaction() as work:
        for letter in letters:
            detail = letter.detail.replace("\0", "")[:MOST_DETAIL]
            await work.insert_dead_letter(
                (queue, letter.cause, detail), type_of(letter.body).replace("\0", "")[:100], letter.body
            )
    for letter in letters:
        _buried.labels(queue, letter.cause).inc()
        _log.warning(
            "dead_letter_kept",
            queue=queue,
            cause=letter.cause,
            type=type_of(letter.body),
            message_bytes=len(letter.body),
            **fields(trace_of(letter.body)),
        )
