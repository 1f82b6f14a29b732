"""The operations on attempts of one cluster: start, follow, stop and remove.

Message handlers and reconcilers call the same functions. Every call may be repeated, arrive late, and run in
several executors at once: rows change by compare-and-set, and the cluster adopts objects that already exist.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from services.executor.attempt_store import AttemptStore, Place
from services.executor.backend import Backend
from services.executor.following import Following
from services.executor.planning import OpenToken
from services.executor.removing import Removing
from services.executor.settings import ExecutorSettings
from services.executor.starting import Starting
from services.executor.store import ExecutorStore, Stopping, Wanted
from services.executor.tokens import secret_opener
from services.executor.verdict import StartLimits
from shared.errors import Transient
from shared.tracing import traced

_log = structlog.get_logger()

T = TypeVar("T")


class Attempts:
    """The operations on attempts. Safe for concurrent use."""

    def __init__(
        self,
        store: ExecutorStore,
        cluster: Backend,
        place: Place,
        open_token: OpenToken,
        settings: ExecutorSettings,
    ) -> None:
        self._attempt_store = AttemptStore(store, place, secret_opener(settings.encryption_key_file))
        self._backend = cluster
        removing = Removing(self._attempt_store, cluster)
        starting = Starting(self._attempt_store, cluster, removing, open_token, _limits(settings))
        following = Following(
            self._attempt_store, cluster, starting, _limits(settings), settings.reconcile_age_seconds
        )
        self.start, self.reconcile_created, self.give_up = (
            starting.start,
            starting.reconcile_created,
            starting.give_up,
        )
        self.follow, self.reconcile, self.end_overlong = (
            following.follow,
            following.reconcile,
            following.end_overlong,
        )
        self.remove, self.sweep = removing.remove, removing.sweep

    async def stop(self, wanted: Sequence[Wanted]) -> None:
        """Stop attempts whose stop was requested.

        An attempt without a claim finishes at once, because its user code cannot have started. The pod of a
        claimed attempt is asked to end.
        """
        stopping, over = await self._attempt_store.stop(wanted)
        await asyncio.gather(*map(self._stop_pod, stopping))
        await self.remove(over)

    async def _stop_pod(self, one: Stopping) -> None:
        if one.pod_uid is not None:
            with traced(one.traceparent):
                await self._backend.stop(self._attempt_store.name(one.attempt_id), one.pod_uid)


class Watching:
    """The task that handles changes in the cluster: it claims new pods and stores verdicts."""

    name = "watching"
    wait_seconds = 0.5

    def __init__(self, attempts: Attempts, cluster: Backend) -> None:
        self._attempts = attempts
        self._backend = cluster

    async def run(self) -> None:
        unfollowed: frozenset[int] = frozenset()
        while True:
            changed = unfollowed | (frozenset() if unfollowed else await self._backend.changed())
            try:
                await all_or_each(self._attempts.follow, sorted(changed))
                unfollowed = frozenset()
            except Transient as error:
                _log.info("verdicts_wait", count=len(changed), why=str(error))
                unfollowed = changed
                await asyncio.sleep(self.wait_seconds)


async def all_or_each(do: Callable[[list[T]], Awaitable[int | None]], them: Sequence[T]) -> int:
    """Call `do` once with all items; if that fails, call it for each item alone.

    This way a bad row affects only itself: its exception is logged. Returns the sum of the results.

    Raises Transient if the database or the cluster is unavailable.
    """
    if not them:
        return 0
    with traced():
        try:
            return await do(list(them)) or 0
        except Transient:
            raise
        except Exception:  # noqa: BLE001 - the outermost edge of what is done for each of them
            if len(them) == 1:
                _log.exception("attempt_not_handled", attempt=them[0])
                return 0
    return sum([await all_or_each(do, [one]) for one in them])


def _limits(settings: ExecutorSettings) -> StartLimits:
    return StartLimits(
        unclaimed_seconds=settings.start_seconds,
        quota_seconds=settings.kubernetes_quota_seconds,
        unscheduled_seconds=settings.kubernetes_unscheduled_seconds,
        image_pull_seconds=settings.kubernetes_image_pull_seconds,
        start_seconds=settings.kubernetes_start_seconds,
        grace_seconds=settings.grace_seconds,
    )
