"""Stores deliveries in Postgres: those of webhooks in groups, and those of the fallback queue."""

from collections.abc import Sequence

from services.gateway.store import GatewayStore
from services.gateway.webhooks.deliveries import Delivery
from services.gateway.webhooks.group_commit import Kept
from shared.crashpoint import crashpoint
from shared.database.store import Relay


class Record:
    """Writes accepted deliveries to Postgres.

    Deliveries and the message that names them are inserted by one statement, and so in one transaction.
    """

    def __init__(self, store: GatewayStore, relay: Relay) -> None:
        self._store = store
        self._relay = relay

    async def keep(self, deliveries: Sequence[Delivery]) -> list[Kept]:
        """Store the deliveries that are not known yet, and return the result of each in the same order.

        The caller passes them sorted. If a known delivery was about no registered repository, it is announced
        to the scheduler again. Raises Transient if some may be stored (repeating the call is safe), or
        Refused if none is.
        """
        async with self._store.reading() as work:
            stored = await work.insert_deliveries(deliveries)
            crashpoint("gateway.stored_not_handed_over")
            self._relay.hand_over(stored.outgoing)
            known = await work.kept(deliveries, stored.new)
            self._relay.hand_over(known.outgoing)
            return known.kept
