"""Approvals: runs of pull requests from forks that wait until a maintainer approves them.

An approval belongs to one run, so to one head commit, one merge commit and one revision of the pipeline.

1. An event from a fork starts a run under `forks: approve`. The run is stored with the time at which the
   approval expires. Its jobs wait for `approval`, and it has no concurrency group yet.
2. A maintainer approves it. The run gets its group, and its jobs queue as those of any other run.

Failures:
- A newer push arrives first: the run ends as `superseded`, and the run of the newer event needs an approval
  of its own. A run that was approved but has not started ends too.
- Nobody approves it in time: the check `expired_approvals` ends it as `rejected`.
- It is cancelled: it ends as `cancelled_by_user`.

All of them lock the run first. The first one counts, and a later approval is refused with a reason that names
it. The caller holds the transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from services.scheduler.engine import approve
from services.scheduler.runs import change_runs, stop_runs
from services.scheduler.store import Command, LockedRun, SchedulerWork
from shared.statuses import TERMINAL, Reason

REPLACED = "A newer push of the pull request replaced it before it had started."
"""The message of the jobs of a run whose approval is void."""

_ENDED = {
    Reason.CANCELLED_BY_USER: "approval_cancelled",
    Reason.SUPERSEDED: "approval_void",
    Reason.REJECTED: "approval_expired",
}


@dataclass(frozen=True, slots=True)
class Forks:
    """The administrator's settings for pull requests from forks."""

    can_run: bool = False
    """False if the backend can't keep the code of forks apart from the machine."""
    approval_seconds: float = 7 * 24 * 3600
    """The time in which a run can be approved."""


@dataclass(frozen=True, slots=True)
class Approval:
    """The result of a command to approve a run."""

    is_applied: bool
    reason: str
    wakes_admission: bool = False


async def approve_run(work: SchedulerWork, command: Command) -> Approval:
    """Approves a run that waits for it. Approving an approved run again changes nothing."""
    runs = await work.lock_runs([command.run_id])
    if not runs:
        return Approval(False, "run_unknown")
    (run,) = runs
    if run.approval is None:
        return Approval(False, "approval_not_needed")
    if run.approval.is_given:
        return Approval(True, "already_approved")
    if run.state.status in TERMINAL:
        why = None if run.state.reason is None else _ENDED.get(run.state.reason)
        return Approval(False, why or "already_finished")
    if run.approval.expires_at <= run.locked_at:
        return Approval(False, "approval_expired", await _expire(work, runs))
    await work.approve_run(run.id, command.requested_by)
    in_group = not run.approval.has_group
    await change_runs(
        work, runs, lambda state, now: approve(state, now, in_group=in_group), f"command:{command.id}"
    )
    return Approval(True, "approved", wakes_admission=True)


async def expire_approvals(work: SchedulerWork, run_ids: Iterable[int]) -> bool:
    """Ends those of these runs that still wait for an approval after its time has passed."""
    runs = [
        run
        for run in await work.lock_runs(run_ids)
        if run.state.awaits_approval
        and run.state.status not in TERMINAL
        and run.approval is not None
        and run.approval.expires_at <= run.locked_at
    ]
    return await _expire(work, runs)


async def _expire(work: SchedulerWork, runs: Sequence[LockedRun]) -> bool:
    return await stop_runs(
        work, runs, Reason.REJECTED, "deadline", "Nobody approved it before its approval expired."
    )
