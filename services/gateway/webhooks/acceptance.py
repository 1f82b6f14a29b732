"""Makes a delivery durable in Postgres or in the fallback queue, or refuses it.

The webhook handler calls `accept()`, which returns within about `database_wait_seconds` plus
`inlet_wait_seconds`.

1. Normally the delivery is stored in Postgres by the group commit.
2. If Postgres does not confirm the commit in time, the delivery is published to the fallback queue. The
   commit may still succeed. The second copy, which arrives later through the queue, is then recognised as a
   duplicate.
3. After several failures in a row the circuit opens, and deliveries go to the fallback queue at once. `run()`
   probes Postgres and closes the circuit.
4. If the fallback queue fails too, `Unavailable` is raised. The sender must deliver again.
"""

import asyncio

import structlog
from prometheus_client import Counter

from services.gateway.webhooks.circuit import Circuit
from services.gateway.webhooks.deliveries import Delivery
from services.gateway.webhooks.fallback_queue import FallbackQueue
from services.gateway.webhooks.group_commit import Commit, GroupCommit, Kept, Refused
from shared.database.store import Database
from shared.errors import Transient

__all__ = ["Acceptance", "Kept", "Refused", "Unavailable"]

_log = structlog.get_logger()
_accepted = Counter("towpath_deliveries_total", "Deliveries answered", ["source", "outcome"])

PROBE_SECONDS = 0.5


class Unavailable(Exception):
    """Neither Postgres nor the fallback queue has confirmed the delivery."""


class Acceptance:
    """Stores every webhook in Postgres or in the fallback queue."""

    def __init__(
        self, commit: Commit, fallback_queue: FallbackQueue, database: Database, wait_seconds: float
    ) -> None:
        self._fallback_queue = fallback_queue
        self._database = database
        self._circuit = Circuit()
        self._groups = GroupCommit(commit, self._circuit, wait_seconds)

    async def can_accept(self) -> bool:
        """Return True if Postgres or the fallback queue can accept a webhook."""
        return (not self._circuit.is_open and await self._answers()) or await self._fallback_queue.answers()

    async def accept(self, delivery: Delivery) -> Kept:
        """Store the delivery and return when it is durable.

        Raises Unavailable if neither Postgres nor the fallback queue confirms it, or Refused if the row
        violates a constraint and can never be stored.
        """
        if not self._circuit.is_open:
            try:
                kept = await self._groups.store(delivery)
            except Transient as error:
                _log.info(
                    "delivery_not_committed",
                    source=delivery.source,
                    delivery_id=delivery.delivery_id,
                    why=str(error),
                )
            except Refused:
                _accepted.labels(delivery.source, "refused").inc()
                raise
            else:
                return self._answered(delivery, kept, "duplicate" if kept.is_duplicate else "accepted")
        return await self._keep_in_inlet(delivery)

    async def _keep_in_inlet(self, delivery: Delivery) -> Kept:
        try:
            await self._fallback_queue.keep(delivery)
        except Transient as error:
            _log.warning(
                "delivery_not_accepted",
                source=delivery.source,
                delivery_id=delivery.delivery_id,
                why=str(error),
            )
            _accepted.labels(delivery.source, "unavailable").inc()
            raise Unavailable from error
        return self._answered(delivery, Kept(delivery.delivery_id, is_duplicate=False), "inlet")

    @staticmethod
    def _answered(delivery: Delivery, kept: Kept, outcome: str) -> Kept:
        _accepted.labels(delivery.source, outcome).inc()
        _log.debug(
            "delivery_accepted", source=delivery.source, delivery_id=delivery.delivery_id, outcome=outcome
        )
        return kept

    async def run(self) -> None:
        """Probe Postgres while the circuit is open, so that no webhook has to wait for the attempt."""
        while True:
            await asyncio.sleep(PROBE_SECONDS)
            if self._circuit.is_open and await self._answers():
                self._circuit.succeeded()
                _log.info("postgres_is_back")

    async def _answers(self) -> bool:
        probe = asyncio.ensure_future(self._database.answers())
        done, _ = await asyncio.wait({probe}, timeout=2)
        if not done:
            probe.cancel()
            return False
        return probe.result()
