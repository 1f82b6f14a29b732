"""Putting deliveries into the record: from webhooks in groups, and from the inlet."""

from collections.abc import Sequence

from services.gateway.deliveries import Delivery
from services.gateway.group_commit import Kept
from services.gateway.store import GatewayStore
from shared.crashpoint import crashpoint
from shared.db import Relay


class Record:
    """Where accepted deliveries go.

    Deliveries and the message that names them are one statement, so one transaction.
    """

    def __init__(self, store: GatewayStore, relay: Relay) -> None:
        self._store = store
        self._relay = relay

    async def keep(self, deliveries: Sequence[Delivery]) -> list[Kept]:
        """Stores what is not known yet and says of each delivery where it is. The caller has sorted them.

        A known delivery that was about no registered repository is named to the scheduler again.

        Raises Transient (perhaps some of it is stored: repeating it is safe) or Refused (nothing is).
        """
        async with self._store.reading() as work:
            stored = await work.insert_deliveries(deliveries)
            crashpoint("gateway.stored_not_handed_over")
            self._relay.hand_over(stored.outgoing)
            known = await work.kept(deliveries, stored.new)
            self._relay.hand_over(known.outgoing)
            return known.kept
