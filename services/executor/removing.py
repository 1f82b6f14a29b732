"""Removes the objects of attempts from the cluster when they are no longer needed."""

import asyncio
from collections.abc import Collection

import structlog

from services.executor.attempt_store import AttemptStore
from services.executor.backend import Backend
from shared.crashpoint import crashpoint

_log = structlog.get_logger()


class Removing:
    """Removes objects. Safe for concurrent use."""

    def __init__(self, attempt_store: AttemptStore, cluster: Backend) -> None:
        self._attempt_store = attempt_store
        self._backend = cluster

    async def remove(self, attempts: Collection[int] | None) -> int:
        """Remove the objects of finished attempts whose logs are sealed. Returns how many attempts.

        None selects all such attempts.
        """
        if attempts is not None and not attempts:
            return 0
        async with self._attempt_store.store.reading() as work:
            gone = await work.removable(self._attempt_store.cluster_name, attempts)
        if not gone:
            return 0
        seen = await self._backend.observe([self._attempt_store.name(attempt) for attempt in gone])
        crashpoint("executor.sealed_not_removed")
        answers = await asyncio.gather(
            *(self._backend.remove(name, observation.object_uid) for name, observation in seen.items()),
            return_exceptions=True,
        )
        failed = {
            observation.attempt_id: answer
            for observation, answer in zip(seen.values(), answers, strict=True)
            if isinstance(answer, BaseException)
        }
        crashpoint("executor.removed_not_marked")
        async with self._attempt_store.store.reading() as work:
            # An attempt whose removal failed does not delay the others.
            await work.mark_removed([attempt for attempt in gone if attempt not in failed])
        for answer in failed.values():
            raise answer
        return len(gone)

    async def sweep(self) -> int:
        """Remove objects that no attempt needs. Returns how many.

        The cluster is read before the table. The row of every object was committed before the object was
        created, so an object of a new attempt is never removed.
        """
        everything = await self._backend.everything()
        async with self._attempt_store.store.reading() as work:
            wanted = await work.still_wanted([observation.attempt_id for observation in everything])
        leftovers = [observation for observation in everything if observation.attempt_id not in wanted]
        failed: list[Exception] = []
        for observation in leftovers:
            try:
                await self._backend.remove(observation.name, observation.object_uid)
            except Exception as error:  # noqa: BLE001 - raised below: one holds up no other
                failed.append(error)
            else:
                _log.info("leftover_removed", attempt_id=observation.attempt_id, name=observation.name)
        for first in failed:
            raise first
        return len(leftovers)
