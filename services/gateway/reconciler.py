"""The gateway's periodic checks."""

from functools import partial

from services.gateway.settings import GatewaySettings
from services.gateway.store import GatewayStore
from shared.reconcile import Check, Reconciler

BATCH = 500
MOST_BATCHES = 40
UNUSED_SECONDS = 3600
"""An executor that is storing an attempt has read the newest versions a few seconds ago at most."""


class BodyRetention:
    """Drops the bodies of decided deliveries that are past their retention.

    Ids and hashes stay, so that a replay is still recognised. The check remembers the last id that it has
    reached, so it costs nothing if no delivery is old enough. After a restart it begins with the first id
    again.
    """

    def __init__(self, store: GatewayStore, days: int) -> None:
        self._store = store
        self._days = days
        self._after = 0

    async def check(self) -> int:
        """Drop old bodies and return their number. Raises Transient."""
        dropped = 0
        for _ in range(MOST_BATCHES):
            async with self._store.transaction() as work:
                ids = await work.old_deliveries(self._after, self._days, BATCH)
                dropped += await work.forget_bodies(ids) if ids else 0
            if not ids:
                break
            self._after = ids[-1]
        return dropped


class UnusedSecrets:
    """Deletes versions of secrets that were replaced or deleted and that no attempt needs.

    An attempt needs its versions until it is removed, which is after its logs were sealed.
    """

    def __init__(self, store: GatewayStore) -> None:
        self._store = store

    async def check(self) -> int:
        """Delete unused versions and return their number. Raises Transient."""
        async with self._store.transaction() as work:
            return await work.delete_unused_versions(UNUSED_SECONDS, BATCH)


async def _forget_sessions(store: GatewayStore) -> int:
    """Delete old browser sessions and links. Raises Transient."""
    async with store.transaction() as work:
        return await work.forget_sessions(BATCH)


def open_reconciler(store: GatewayStore, settings: GatewaySettings) -> Reconciler:
    return Reconciler(
        [
            Check("deliveries.bodies", BodyRetention(store, settings.body_retention_days).check),
            Check("secrets.unused", UnusedSecrets(store).check),
            Check("sessions.expired", partial(_forget_sessions, store)),
        ],
        settings.reconcile_seconds,
    )
