"""Consumers whose handlers get messages undecoded, for queues whose messages must all be kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shared.messaging.consumer import Consumer


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that was not decoded."""

    body: bytes
    cause: str
    """The broker's reason for the dead letter: `rejected`, `delivery_limit`, and so on.

    It is empty if the message came directly from its publisher.
    """


class RawConsumer(Consumer):
    """A consumer whose handler gets 1 to `batch` values of `Arrived`.

    It settles messages in the same way as `Consumer`.
    """

    async def _settle(self, taken: Sequence[Any]) -> None:
        known: list[Any] = [
            (incoming, Arrived(incoming.body, _cause(incoming.headers))) for incoming in taken
        ]
        await self._handle(known)


def _cause(headers: Any) -> str:
    """Return the reason of the last death. RabbitMQ lists the newest first in the header `x-death`."""
    deaths = headers.get("x-death") or [{}]
    return str(deaths[0].get("reason", ""))
