"""Registers this executor's cluster, so that jobs can choose it by its labels."""

import asyncio

import structlog

from services.executor.attempt_store import Place
from services.executor.store import ExecutorStore
from shared.errors import Transient

_log = structlog.get_logger()
_SECONDS = 30
"""A quarter of the time after which the scheduler prefers another cluster with the same labels."""


class Registration:
    """The task that registers the cluster, and then says that an executor serves it."""

    name = "registration"

    def __init__(self, store: ExecutorStore, place: Place) -> None:
        self._store = store
        self._place = place

    async def run(self) -> None:
        while True:
            try:
                await self.register()
            except Transient as error:
                _log.info("registration_waits", why=str(error))
            await asyncio.sleep(_SECONDS)

    async def register(self) -> None:
        """Record the cluster with its labels, seen now. Raises Transient. Safe to repeat."""
        async with self._store.reading() as work:
            await work.register_cluster(self._place.cluster_name, self._place.labels)
