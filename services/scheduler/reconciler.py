"""Reconciler checks of the scheduler: they finish work whose messages were lost.

Each check reads the tables again and calls the same functions as the message path. The scheduler's queues may
be wiped at any time. A check takes only rows that are old enough for the message path to have finished them.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from services.scheduler.admission import Admission
from services.scheduler.approvals import expire_approvals
from services.scheduler.batches import all_or_each
from services.scheduler.consumers import Consumers
from services.scheduler.runs import stop_runs
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import SchedulerStore
from shared.errors import Transient
from shared.messaging.messages import AttemptCancelRequested, AttemptReady
from shared.reconcile import Check
from shared.statuses import TERMINAL, Reason
from shared.tracing import set_trace

_DELIVERIES_A_CHECK = 500


class Steadiness:
    """Tracks how long this process has seen the database answer without interruption."""

    def __init__(self, grace_seconds: float) -> None:
        self._grace_seconds = grace_seconds
        self._since: float | None = None

    def note(self, *, answered: bool) -> None:
        if not answered:
            self._since = None
        elif self._since is None:
            self._since = asyncio.get_running_loop().time()

    @property
    def lasts(self) -> bool:
        """True if deadlines may be judged, because the database has answered for `grace_seconds`.

        By then, attempts that ended during an outage have had time to be reported.
        """
        return (
            self._since is not None and asyncio.get_running_loop().time() - self._since >= self._grace_seconds
        )


class Checks:
    """The scheduler's checks.

    Each returns the number of rows that it finished. All are safe at any time and in several replicas.
    """

    def __init__(
        self, store: SchedulerStore, consumers: Consumers, admission: Admission, settings: SchedulerSettings
    ) -> None:
        self._store = store
        self._consumers = consumers
        self._admission = admission
        self._age_seconds = settings.reconcile_age_seconds
        self._steadiness = Steadiness(settings.deadline_grace_seconds)
        self._decided_up_to = 0

    def checks(self) -> list[Check]:
        checks = (
            self.undecided_deliveries,
            self.redelivered_deliveries,
            self.commands_without_effect,
            self.resolved_not_decided,
            self.attempts_not_folded,
            self.jobs_not_admitted,
            self.admitted_without_attempt,
            self.stops_not_heard,
            self.runs_past_deadline,
            self.expired_approvals,
        )
        return [Check(check.__name__, self._watched(check)) for check in checks]

    async def undecided_deliveries(self) -> int:
        """Decides deliveries that have no outcome.

        Their rows stay locked meanwhile, so that this check in another replica skips them. The message path
        ignores these locks and may decide a delivery first.
        """
        async with self._store.transaction() as finding:
            ids = await finding.undecided_deliveries(
                above=self._decided_up_to, age_seconds=self._age_seconds, at_most=_DELIVERIES_A_CHECK
            )
            if ids:
                await self._consumers.decide(ids)
            else:
                self._decided_up_to = await finding.decided_up_to(self._decided_up_to)
        return len(ids)

    async def redelivered_deliveries(self) -> int:
        """Decides deliveries again that matched no registered repository and were redelivered afterwards."""
        async with self._store.transaction() as finding:
            ids = await finding.redelivered_deliveries(
                age_seconds=self._age_seconds, at_most=_DELIVERIES_A_CHECK
            )
            if ids:
                await self._consumers.decide(ids)
        return len(ids)

    async def commands_without_effect(self) -> int:
        async with self._store.transaction() as finding:
            ids = await finding.commands_without_effect(age_seconds=self._age_seconds)
            if ids:
                await self._consumers.apply(ids)
        return len(ids)

    async def resolved_not_decided(self) -> int:
        """Decides events whose refs were resolved and whose message was lost."""
        async with self._store.reading() as work:
            ids = await work.resolved_not_decided(age_seconds=self._age_seconds)
        return len(ids) - len(await self._consumers.resolve(ids)) if ids else 0

    async def attempts_not_folded(self) -> int:
        async with self._store.reading() as work:
            run_ids = await work.runs_to_fold(age_seconds=self._age_seconds)
        return len(run_ids) - len(await self._consumers.fold(run_ids))

    async def jobs_not_admitted(self) -> int:
        """Wakes admission if jobs or runs wait.

        Returns 0, because most of them wait for a free slot and not because a message was lost.
        """
        async with self._store.reading() as work:
            if await work.jobs_wait():
                self._admission.wake()
        return 0

    async def admitted_without_attempt(self) -> int:
        """Sends `AttemptReady` again for admitted jobs that have no attempt row.

        The executor has its own check for them; this one only saves time.
        """
        async with self._store.transaction() as work:
            found = await work.admitted_without_attempt(age_seconds=self._age_seconds)
            work.send(*(AttemptReady(cluster=cluster, jobs=tuple(jobs)) for cluster, jobs in found.items()))
        return sum(map(len, found.values()))

    async def stops_not_heard(self) -> int:
        """Sends `AttemptCancelRequested` again for requests that the executor has not recorded."""
        async with self._store.transaction() as work:
            found = await work.stops_not_heard(age_seconds=self._age_seconds)
            work.send(
                *(
                    AttemptCancelRequested(cluster=cluster, jobs=tuple(jobs))
                    for cluster, jobs in found.items()
                )
            )
        return sum(map(len, found.values()))

    async def runs_past_deadline(self) -> int:
        """Stops runs that have exceeded their timeout.

        Attempts are only asked to stop. The executor decides how they ended, and an end that is already
        recorded counts. Nothing is judged until the database has answered for the grace period.
        """
        if not self._steadiness.lasts:
            return 0
        async with self._store.reading() as work:
            overdue = await work.overdue_runs()
        return len(overdue) - len(await all_or_each(overdue, self._time_out))

    async def _time_out(self, run_ids: Sequence[int]) -> None:
        async with self._store.transaction() as work:
            runs = [run for run in await work.lock_runs(run_ids) if run.state.status not in TERMINAL]
            set_trace(run.traceparent for run in runs)
            wakes = await stop_runs(work, runs, Reason.TIMED_OUT, "deadline")
        if wakes:
            self._admission.wake()

    async def expired_approvals(self) -> int:
        """Ends runs that nobody has approved in time."""
        if not self._steadiness.lasts:
            return 0
        async with self._store.reading() as work:
            expired = await work.expired_approvals()
        return len(expired) - len(await all_or_each(expired, self._expire))

    async def _expire(self, run_ids: Sequence[int]) -> None:
        async with self._store.transaction() as work:
            await expire_approvals(work, run_ids)

    def _watched(self, check: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
        async def watched() -> int:
            try:
                found = await check()
            except Transient:
                self._steadiness.note(answered=False)
                raise
            self._steadiness.note(answered=True)
            return found

        return watched
