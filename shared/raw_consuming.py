"""Consumers of what arrived as it is, readable or not: for queues whose messages are to be kept whatever they
hold.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.consuming import Consumer


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of the bus, not decoded."""

    body: bytes
    cause: str
    """Why the broker laid it here: `rejected`, `delivery_limit`, …; empty for one that came straight from its
    publisher.
    """


class RawConsumer(Consumer):
    """Its handler gets 1 to `batch` values of Arrived.

    What becomes of the messages is decided as for every consumer.
    """

    async def _settle(self, taken: Sequence[Any]) -> None:
        known: list[Any] = [
            (incoming, Arrived(incoming.body, _cause(incoming.headers))) for incoming in taken
        ]
        await self._handle(known)


def _cause(headers: Any) -> str:
    """The last death's reason (RabbitMQ's dead letter exchanges, `x-death`: the newest first)."""
    deaths = headers.get("x-death") or [{}]
    return str(deaths[0].get("reason", ""))
