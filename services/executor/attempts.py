"""The life of attempts on one cluster: started, followed, stopped, removed.

Messages and reconcilers call the same functions.

Everything may be repeated, late, and by several executors at once: rows are changed by compare-and-set, the
cluster adopts what is there.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import structlog

from services.executor.cluster import Cluster
from services.executor.following import Following
from services.executor.ledger import Ledger, Place
from services.executor.planning import OpenToken
from services.executor.removing import Removing
from services.executor.settings import ExecutorSettings
from services.executor.starting import Starting
from services.executor.store import ExecutorStore, Wanted
from services.executor.verdict import StartLimits
from shared.errors import Transient

_log = structlog.get_logger()

T = TypeVar("T")


class Attempts:
    """What can be done with attempts. Safe for concurrent use."""

    def __init__(
        self,
        store: ExecutorStore,
        cluster: Cluster,
        place: Place,
        open_token: OpenToken,
        settings: ExecutorSettings,
    ) -> None:
        self._ledger = Ledger(store, place)
        self._cluster = cluster
        removing = Removing(self._ledger, cluster)
        starting = Starting(self._ledger, cluster, removing, open_token, _limits(settings))
        following = Following(
            self._ledger, cluster, starting, _limits(settings), settings.reconcile_age_seconds
        )
        self.start, self.look_after_created, self.give_up = (
            starting.start,
            starting.look_after_created,
            starting.give_up,
        )
        self.follow, self.look_after, self.end_overlong = (
            following.follow,
            following.look_after,
            following.end_overlong,
        )
        self.remove, self.sweep = removing.remove, removing.sweep

    async def stop(self, wanted: Sequence[Wanted]) -> None:
        """Ends attempts whose stop was asked for: at once where nothing may have run, else by asking their
        pods.
        """
        stopping, over = await self._ledger.stop(wanted)
        await asyncio.gather(
            *(
                self._cluster.stop(self._ledger.name(one.attempt_id), one.pod_uid)
                for one in stopping
                if one.pod_uid is not None
            )
        )
        await self.remove(over)


class Watching:
    """Turns what happens in the cluster into claims and verdicts."""

    name = "watching"
    wait_seconds = 0.5

    def __init__(self, attempts: Attempts, cluster: Cluster) -> None:
        self._attempts = attempts
        self._cluster = cluster

    async def run(self) -> None:
        unfollowed: frozenset[int] = frozenset()
        while True:
            changed = unfollowed | (frozenset() if unfollowed else await self._cluster.changed())
            try:
                await each_its_own(self._attempts.follow, sorted(changed))
                unfollowed = frozenset()
            except Transient as error:
                _log.info("verdicts_wait", count=len(changed), why=str(error))
                unfollowed = changed
                await asyncio.sleep(self.wait_seconds)


async def each_its_own(do: Callable[[list[T]], Awaitable[int | None]], them: Sequence[T]) -> int:
    """Does it for all at once, and where that fails, which the database or the cluster is not to blame for,
    for each alone: one bad row harms itself only.

    Raises Transient.
    """
    if not them:
        return 0
    try:
        return await do(list(them)) or 0
    except Transient:
        raise
    except Exception:  # noqa: BLE001 - the outermost edge of what is done for each of them
        if len(them) == 1:
            _log.exception("attempt_not_handled", attempt=them[0])
            return 0
    return sum([await each_its_own(do, [one]) for one in them])


def _limits(settings: ExecutorSettings) -> StartLimits:
    return StartLimits(
        unclaimed_seconds=settings.start_seconds,
        quota_seconds=settings.kubernetes_quota_seconds,
        unscheduled_seconds=settings.kubernetes_unscheduled_seconds,
        image_pull_seconds=settings.kubernetes_image_pull_seconds,
        start_seconds=settings.kubernetes_start_seconds,
        grace_seconds=settings.grace_seconds,
    )
