"""Admission: free slots go to waiting jobs.

It is one statement over rows, never a counter in memory, so any replica may admit at any time.
"""

import asyncio
from dataclasses import dataclass

import structlog
from prometheus_client import Histogram

from services.scheduler.groups import Arrangement, arrange
from services.scheduler.runs import enter_groups, stop_runs
from services.scheduler.store import SchedulerStore, SchedulerWork
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messages import AttemptReady
from shared.patience import backoff

_log = structlog.get_logger()
_seconds = Histogram(
    "towpath_admission_seconds",
    "One admission, with its wait for others",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5),
)

_JOBS_A_MESSAGE = 16


@dataclass(frozen=True, slots=True)
class Limits:
    """Slots: attempts that may be under way at once."""

    over_all: int
    of_repository: int


class Admission:
    """One per process.

    Wake-ups while an admission runs become one more; at most one call of a process waits for other replicas.
    """

    name = "admission"

    def __init__(self, store: SchedulerStore, limits: Limits, cluster: str) -> None:
        self._store = store
        self._limits = limits
        self._cluster = cluster
        self._woken = asyncio.Event()
        self._next_retry_seconds: float | None = None

    def wake(self) -> None:
        """There may be something to admit: a job became ready, or a slot was freed. Never waits."""
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
        """Admits what fits; returns how many jobs.

        Safe at any time and in several replicas. Raises Transient when others hold it up.
        """
        async with self._store.transaction() as work:
            await work.lock_admission()
            if await arrange_groups(work):
                self.wake()
            admitted = await work.admit(
                global_limit=self._limits.over_all,
                repository_limit=self._limits.of_repository,
                cluster=self._cluster,
            )
            jobs = admitted.jobs
            for start in range(0, len(jobs), _JOBS_A_MESSAGE):
                work.send(AttemptReady(cluster=self._cluster, jobs=jobs[start : start + _JOBS_A_MESSAGE]))
            if jobs:
                crashpoint("scheduler.admitted_not_committed")
        self._next_retry_seconds = admitted.next_retry_seconds
        return len(jobs)

    async def _until_woken(self) -> None:
        """By a call, or by the end of the next pause before another attempt."""
        try:
            async with asyncio.timeout(self._next_retry_seconds):
                await self._woken.wait()
        except TimeoutError:
            self._next_retry_seconds = None
        self._woken.clear()


async def arrange_groups(work: SchedulerWork) -> bool:
    """Gives places in concurrency groups to runs that wait, and stops those that a newer run replaces.

    True when something moved, and more may follow.

    The caller holds the lock of admission, so nothing is waited for: a run that another transaction holds is
    left for the admission that this one wakes when it has committed, or for a reconciler's.
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
