"""Accepting a delivery: durable in Postgres, or durable in the inlet, or refused. Nothing in between.

The answer is known within `database_wait_seconds` + `inlet_wait_seconds`. A commit whose answer is lost
counts as Postgres away: the copy that then comes through the inlet is absorbed.
"""

import asyncio

import structlog
from prometheus_client import Counter

from services.gateway.circuit import Circuit
from services.gateway.deliveries import Delivery
from services.gateway.group_commit import Commit, GroupCommit, Kept, Refused
from services.gateway.inlet import Inlet
from shared.db import Database
from shared.errors import Transient

__all__ = ["Acceptance", "Kept", "Refused", "Unavailable"]

_log = structlog.get_logger()
_accepted = Counter("towpath_deliveries_total", "Deliveries answered", ["source", "outcome"])

PROBE_SECONDS = 0.5


class Unavailable(Exception):
    """Neither Postgres nor the inlet took it. Nothing is promised."""


class Acceptance:
    """The way of every webhook into the record."""

    def __init__(self, commit: Commit, inlet: Inlet, database: Database, wait_seconds: float) -> None:
        self._inlet = inlet
        self._database = database
        self._circuit = Circuit()
        self._groups = GroupCommit(commit, self._circuit, wait_seconds)

    async def can_accept(self) -> bool:
        """Whether a webhook would be accepted: one of the two is enough."""
        return (not self._circuit.is_open and await self._answers()) or await self._inlet.answers()

    async def accept(self, delivery: Delivery) -> Kept:
        """Returns when the delivery survives anything.

        Raises Unavailable, or Refused when the record will never take this row.
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
                _accepted.labels(delivery.source, "duplicate" if kept.is_duplicate else "accepted").inc()
                return kept
        return await self._keep_in_inlet(delivery)

    async def _keep_in_inlet(self, delivery: Delivery) -> Kept:
        try:
            await self._inlet.keep(delivery)
        except Transient as error:
            _log.warning(
                "delivery_not_accepted",
                source=delivery.source,
                delivery_id=delivery.delivery_id,
                why=str(error),
            )
            _accepted.labels(delivery.source, "unavailable").inc()
            raise Unavailable from error
        _accepted.labels(delivery.source, "inlet").inc()
        return Kept(delivery.delivery_id, is_duplicate=False)

    async def run(self) -> None:
        """Probes Postgres while the circuit is open: no webhook pays for finding out that it is back."""
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
