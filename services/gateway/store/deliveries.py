"""The table of deliveries: each is stored once, and old bodies are dropped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import orjson

from services.gateway.people import Caller
from services.gateway.webhooks.deliveries import Delivery
from services.gateway.webhooks.group_commit import Kept, Refused
from shared.database.store import Work
from shared.errors import Transient
from shared.messaging.messages import DeliveryAccepted, Message, encode
from shared.tracing import common


@dataclass(frozen=True, slots=True)
class Stored:
    """The rows that a committed statement has added."""

    new: set[tuple[str, str]]
    """(source, delivery id) of each new delivery."""
    outgoing: list[tuple[int, Message]]
    """Outbox rows with their messages, for the relay."""


@dataclass(frozen=True, slots=True)
class Known:
    """The results of storing deliveries."""

    kept: list[Kept]
    """One result per delivery, in order."""
    outgoing: list[tuple[int, Message]] = field(default_factory=list)
    """Outbox rows with their messages, for the relay. They announce deliveries that must be decided again."""


class DeliveriesWork(Work):
    async def insert_deliveries(self, deliveries: Sequence[Delivery]) -> Stored:
        """Store the deliveries that are not known yet, and one message for all of them.

        This is a single statement, so it needs no transaction around it. The caller passes the deliveries
        sorted. Raises Refused if a row violates a constraint of the table.
        """
        trace = common(delivery.traceparent for delivery in deliveries)
        message = DeliveryAccepted(delivery_ids=(), traceparent=trace)
        try:
            rows = await self._rows("insert_deliveries", *_columns(deliveries), encode(message).decode())
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            raise Refused(str(error)) from error
        if not rows:
            return Stored(set(), [])
        told = message.model_copy(update={"delivery_ids": tuple(row["id"] for row in rows)})
        return Stored({(row["source"], row["delivery_id"]) for row in rows}, [(rows[0]["outbox_id"], told)])

    async def kept(self, deliveries: Sequence[Delivery], new: set[tuple[str, str]]) -> Known:
        """Return the result of each delivery, after `insert_deliveries` has added the new ones.

        A replay under another id is written to the audit log. If a known delivery was about no registered
        repository, it is marked to be decided again. Raises Transient if Postgres is unavailable, or if the
        row of a known delivery has disappeared.
        """
        if len(new) == len(deliveries):
            return Known([Kept(delivery.delivery_id, is_duplicate=False) for delivery in deliveries])
        first_of = {row["ordinal"]: row for row in await self._rows("first_deliveries", *_keys(deliveries))}
        unclaimed = set(new)  # a group may contain a delivery twice; only one of them is the first
        kept: list[Kept] = []
        again: dict[int, Delivery] = {}
        for ordinal, delivery in enumerate(deliveries, 1):
            key = (delivery.source, delivery.delivery_id)
            if key in unclaimed:
                unclaimed.discard(key)
                kept.append(Kept(delivery.delivery_id, is_duplicate=False))
                continue
            first = first_of.get(ordinal)
            if first is None:
                raise Transient("the row that stood in the way is gone")
            if first["delivery_id"] != delivery.delivery_id:
                await self._run(
                    "insert_audit",
                    None,
                    "delivery.replayed",
                    f"delivery:{first['id']}",
                    {"delivery_id": delivery.delivery_id},
                    None,
                    None,
                    delivery.traceparent,
                )
            if first["is_open"]:
                again[first["id"]] = delivery
            kept.append(Kept(first["delivery_id"], is_duplicate=True))
        return Known(kept, await self._mark_redelivered(again) if again else [])

    async def _mark_redelivered(self, again: Mapping[int, Delivery]) -> list[tuple[int, Message]]:
        """Mark stored deliveries, by id, to be decided again. Runs one statement.

        Returns its outbox row with the message.
        """
        trace = common(delivery.traceparent for delivery in again.values())
        message = DeliveryAccepted(delivery_ids=(), traceparent=trace)
        ids = sorted(again)
        columns = [
            [orjson.dumps(dict(again[one].headers)).decode() for one in ids],
            [again[one].body for one in ids],
            [again[one].hook_key for one in ids],
            [again[one].traceparent for one in ids],
        ]
        rows = await self._rows("mark_redelivered", ids, *columns, encode(message).decode())
        if not rows:
            return []
        return [
            (
                rows[0]["outbox_id"],
                message.model_copy(update={"delivery_ids": tuple(row["id"] for row in rows)}),
            )
        ]

    async def list_deliveries(
        self, caller: Caller, before: int, limit: int, filters: Sequence[Any]
    ) -> list[asyncpg.Record]:
        """Return the newest deliveries. `filters` is (source, event type, outcome)."""
        return await self._rows("list_deliveries", caller.user_id, caller.is_admin, before, limit, *filters)

    async def delivery(self, caller: Caller, delivery_id: str, source: str | None) -> asyncpg.Record | None:
        return await self._row("one_delivery", caller.user_id, caller.is_admin, delivery_id, source)

    async def old_deliveries(self, after: int, days: int, limit: int) -> list[int]:
        return [row["id"] for row in await self._rows("old_deliveries", after, days, limit)]

    async def forget_bodies(self, ids: Sequence[int]) -> int:
        """Drop the bodies of these deliveries and return how many were dropped.

        Deliveries that are undecided, or to be decided again, keep their bodies.
        """
        return await self._run("forget_bodies", list(ids))


def _keys(deliveries: Sequence[Delivery]) -> list[list[Any]]:
    return [
        [delivery.source for delivery in deliveries],
        [delivery.delivery_id for delivery in deliveries],
        [delivery.event_type for delivery in deliveries],
        [delivery.body_sha256 for delivery in deliveries],
    ]


def _columns(deliveries: Sequence[Delivery]) -> list[list[Any]]:
    return [
        [delivery.source for delivery in deliveries],
        [delivery.delivery_id for delivery in deliveries],
        [delivery.event_type for delivery in deliveries],
        [orjson.dumps(dict(delivery.headers)).decode() for delivery in deliveries],
        [delivery.body for delivery in deliveries],
        [delivery.body_sha256 for delivery in deliveries],
        [delivery.body_bytes for delivery in deliveries],
        [delivery.hook_key for delivery in deliveries],
        [delivery.received_at for delivery in deliveries],
        [delivery.via_inlet for delivery in deliveries],
        [delivery.traceparent for delivery in deliveries],
    ]
