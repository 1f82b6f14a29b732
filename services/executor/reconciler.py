"""The executor's reconciler: finishes the work that messages did not finish.

Each check reads the tables and the cluster again and calls the same functions as the message handler. A row's
age alone never causes a verdict: it is only a reason to check the cluster.
"""

from services.executor.attempts import Attempts, all_or_each
from services.executor.refs import Refs
from services.executor.settings import ExecutorSettings
from services.executor.store import ExecutorStore
from shared.reconcile import Check

_STARTS_A_CHECK = 200
_REFS_A_CHECK = 16


class Checks:
    """The executor's checks. Each returns the number of attempts for which it did something."""

    def __init__(
        self, store: ExecutorStore, attempts: Attempts, refs: Refs, settings: ExecutorSettings
    ) -> None:
        self._store = store
        self._attempts = attempts
        self._refs = refs
        self._cluster = settings.cluster
        self._age_seconds = settings.reconcile_age_seconds
        self._start_seconds = settings.start_seconds
        self._grace_seconds = settings.grace_seconds
        self._overdue: set[int] = set()

    def checks(self) -> list[Check]:
        checks = (
            self.admitted_without_attempt,
            self.attempts_without_claim,
            self.starts_past_limit,
            self.claimed_attempts,
            self.jobs_past_limit,
            self.stops_not_done,
            self.finished_not_removed,
            self.objects_without_attempt,
            self.refs_not_resolved,
        )
        return [Check(check.__name__, check) for check in checks]

    async def admitted_without_attempt(self) -> int:
        async with self._store.reading() as work:
            wanted = await work.admitted_without_attempt(self._cluster, self._age_seconds, _STARTS_A_CHECK)
        await all_or_each(self._attempts.start, wanted)
        return len(wanted)

    async def attempts_without_claim(self) -> int:
        async with self._store.reading() as work:
            wanted = await work.not_created(self._cluster, self._age_seconds, _STARTS_A_CHECK)
            created = await work.created(self._cluster, self._age_seconds, _STARTS_A_CHECK)
        await all_or_each(self._attempts.start, wanted)
        return len(wanted) + await all_or_each(
            lambda some: self._attempts.reconcile_created(dict(some)), list(created.items())
        )

    async def starts_past_limit(self) -> int:
        """Give up attempts that the previous check also found past their limit.

        After an outage, each attempt thus has another chance to start.
        """
        async with self._store.reading() as work:
            overdue = await work.overdue_starts(self._cluster, self._start_seconds)
        still, self._overdue = overdue.keys() & self._overdue, set(overdue)
        return await self._attempts.give_up([overdue[attempt] for attempt in still])

    async def claimed_attempts(self) -> int:
        """Follow all claimed attempts.

        The observation also makes this process learn of the end of every pod, including pods that another
        process started.
        """
        async with self._store.reading() as work:
            claims = await work.claimed(self._cluster, 0)
        return await all_or_each(lambda some: self._attempts.reconcile(dict(some)), list(claims.items()))

    async def jobs_past_limit(self) -> int:
        async with self._store.reading() as work:
            running = await work.overdue_runs(self._cluster, self._grace_seconds)
        return await self._attempts.end_overlong(running)

    async def stops_not_done(self) -> int:
        async with self._store.reading() as work:
            wanted = await work.stops_wanted(self._cluster, self._age_seconds)
        if wanted:
            await self._attempts.stop(wanted)
        return len(wanted)

    async def finished_not_removed(self) -> int:
        return await self._attempts.remove(None)

    async def objects_without_attempt(self) -> int:
        return await self._attempts.sweep()

    async def refs_not_resolved(self) -> int:
        """Ask for refs whose message was lost, or whose repository's server did not answer."""
        async with self._store.reading() as work:
            events = await work.refs_not_resolved(self._cluster, self._age_seconds, _REFS_A_CHECK)
        return await self._refs.resolve(events) if events else 0
