"""Admission: gives free slots to waiting jobs.

Slots are counted from the rows of `jobs` in one statement, never in memory, so any replica may admit at any
time.

1. A job becomes ready, a slot is freed, or a retry backoff ends. This wakes the admission task.
2. The task opens a transaction, takes the admission lock, and gives places in concurrency groups.
3. The statement `admit` gives free slots to waiting jobs.
4. `AttemptReady` messages for these jobs are stored in the same transaction and published after COMMIT.

Failures:
- The database does not answer, or other admissions hold the lock for longer than a second: the task tries
  again after a backoff.
- The process dies before COMMIT: nothing is admitted.
- A wake-up is lost because a process died: the check `jobs_not_admitted` wakes admission.
- An `AttemptReady` is lost: the check `admitted_without_attempt` sends it again.
"""

import asyncio
from dataclasses import dataclass

import structlog
from prometheus_client import Histogram

from services.scheduler.concurrency import Arrangement, arrange
from services.scheduler.runs import enter_groups, stop_runs
from services.scheduler.store import SchedulerStore, SchedulerWork
from shared.backoff import backoff
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messaging.messages import AttemptReady
from shared.tracing import set_trace, traced

_log = structlog.get_logger()
_seconds = Histogram(
    "towpath_admission_seconds",
    "One admission, with its wait for others",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)

_JOBS_A_MESSAGE = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Slots: the numbers of attempts that may be under way at once."""

    over_all: int
    of_repository: int


class Admission:
    """The admission task, one per process.

    Wake-ups during an admission cause one more admission. At most one call per process waits for other
    replicas.
    """

    name = "admission"

    def __init__(self, store: SchedulerStore, limits: Limits, cluster: str) -> None:
        self._store = store
        self._limits = limits
        self.cluster = cluster
        self._woken = asyncio.Event()
        self._next_retry_seconds: float | None = None

    def wake(self) -> None:
        """Requests an admission, because a job became ready or a slot was freed. Never blocks."""
        self._woken.set()

    async def run(self) -> None:
        failures = 0
        while True:
            await self._until_woken()
            try:
                with _seconds.time():
                    await self.admit()
                failures = 0
            except Transient as error:
                failures += 1
                _log.info("admission_waits", failures=failures, why=str(error))
                self.wake()
                await asyncio.sleep(backoff(failures))

    async def admit(self) -> int:
        """Admits as many waiting jobs as the limits allow; returns their number.

        Safe at any time and in several replicas. Raises Transient if other admissions hold the lock for too
        long or the database does not answer.
        """
        with traced():
            return await self._admit()

    async def _admit(self) -> int:
        async with self._store.transaction() as work:
            await work.lock_admission()
            if await arrange_groups(work):
                self.wake()
            admitted = await work.admit(
                global_limit=self._limits.over_all,
                repository_limit=self._limits.of_repository,
                cluster=self.cluster,
            )
            set_trace(admitted.traceparents)
            for cluster, jobs in admitted.jobs.items():
                for start in range(0, len(jobs), _JOBS_A_MESSAGE):
                    some = tuple(jobs[start : start + _JOBS_A_MESSAGE])
                    work.send(AttemptReady(cluster=cluster, jobs=some))
            if admitted.jobs:
                crashpoint("scheduler.admitted_not_committed")
        self._next_retry_seconds = admitted.next_retry_seconds
        return sum(map(len, admitted.jobs.values()))

    async def _until_woken(self) -> None:
        """Waits until `wake` is called or the next retry backoff ends."""
        try:
            async with asyncio.timeout(self._next_retry_seconds):
                await self._woken.wait()
        except TimeoutError:
            self._next_retry_seconds = None
        self._woken.clear()


async def arrange_groups(work: SchedulerWork) -> bool:
    """Gives places in concurrency groups to waiting runs, and stops runs that are replaced or rejected.

    Returns True if a run was changed, so that more may follow. The caller holds the admission lock, so this
    function never waits for the lock on a run. It skips a run that another transaction has locked; a later
    admission handles it, which that transaction or a reconciler wakes.
    """
    arrangement = arrange(await work.groups_with_waiting())
    if arrangement == Arrangement():
        return False
    wanted = (*arrangement.enter, *(one.run_id for one in arrangement.stop))
    runs = {run.id: run for run in await work.lock_runs(wanted, only_free=True)}
    await enter_groups(work, [runs[run_id] for run_id in arrangement.enter if run_id in runs], "group")
    for one in arrangement.stop:
        if one.run_id in runs:
            await stop_runs(work, [runs[one.run_id]], one.reason, one.cause)
    return bool(runs)
