"""Decides whether a job may start when the jobs that it needs have ended. Pure.

1. Without `if`, a job runs if all its needs count as success. Otherwise it is skipped as soon as one has
   ended in another way. A need that is a matrix has the worst result of its jobs; it is skipped only if all
   of them are.
2. With an `if` without status function, the same holds, and the condition has to be true.
3. With a status function (`success()`, `failure()`, `always()`), the condition alone decides, when all needs
   have ended. The functions look at direct needs.
4. A job that runs gets its final definition: its remaining expressions are evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from shared.expressions import Value
from shared.pipeline.expansion import ConfigInvalid, condition_of, has_status_function, resolved
from shared.pipeline.matrix import joined
from shared.pipeline.model import Job
from shared.states import JobState
from shared.statuses import WORST_FIRST, Reason, Status

_FAILURES = (Status.FAILED, Status.ERROR)


def decide(job: JobState, needs: Sequence[JobState], now: datetime) -> JobState | None:
    """Returns the job with its final definition, or skipped, or with an error; None if it has to wait."""
    if job.is_unreadable:
        return _ended_with_error(job, Reason.PLATFORM, "This release can't read the job's definition.", now)
    condition = None if job.job is None else job.job.condition
    if condition is None or not has_status_function(condition):
        ended_badly = _ended_badly(needs)
        if ended_badly is not None:
            return _skipped_with(job, ended_badly, now)
    if not all(need.is_over for need in needs):
        return None
    try:
        return job if job.job is None else _evaluated(job, job.job, needs, now)
    except ConfigInvalid as error:
        return _ended_with_error(job, Reason.CONFIG_INVALID, str(error), now)


def _evaluated(job: JobState, definition: Job, needs: Sequence[JobState], now: datetime) -> JobState:
    """Returns the job with its final definition, or skipped. Raises ConfigInvalid."""
    if definition.condition is not None:
        is_true, explanation = condition_of(definition, context(needs), _functions(needs))
        job = replace(job, condition=explanation)
        if not is_true:
            return _skipped(job, Reason.CONDITION_FALSE, explanation, now)
    return replace(job, job=resolved(definition, context(needs)))


def context(needs: Sequence[JobState]) -> dict[str, Value]:
    """Returns what expressions see as `needs`: for each job its result and its outputs.

    The result of a matrix is the worst of its jobs, and its outputs are by the values of the job.
    """
    return {
        jobs[0].id: {
            "result": min((job.result for job in jobs), key=WORST_FIRST.index).value,
            "outputs": _outputs(jobs),
        }
        for jobs in _by_id(needs)
    }


def _by_id(needs: Sequence[JobState]) -> list[list[JobState]]:
    """Returns the needed jobs, those of a matrix together."""
    by_id: dict[str, list[JobState]] = {}
    for need in needs:
        by_id.setdefault(need.id, []).append(need)
    return list(by_id.values())


def _ended_badly(needs: Sequence[JobState]) -> JobState | None:
    """Returns the first needed job that ended in another way than with success, if any.

    A skipped job of a matrix counts only when all jobs of the matrix were skipped.
    """
    for jobs in _by_id(needs):
        over = [job for job in jobs if job.is_over and not job.counts_as_success]
        worse = next((job for job in over if job.status is not Status.SKIPPED), None)
        if worse is not None:
            return worse
        if len(over) == len(jobs):
            return over[0]
    return None


def _outputs(jobs: Sequence[JobState]) -> dict[str, Any]:
    first = jobs[0]
    if first.job is None or first.job.matrix is None:
        return dict(first.outputs)
    return {joined(job.job.matrix_values): dict(job.outputs) for job in jobs if job.job is not None}


def _functions(needs: Sequence[JobState]) -> Mapping[str, bool]:
    return {
        "success": _ended_badly(needs) is None,
        "failure": any(need.result in _FAILURES for need in needs),
        "always": True,
    }


def _ended_with_error(job: JobState, reason: Reason, message: str, now: datetime) -> JobState:
    return replace(
        job, status=Status.ERROR, reason=reason, message=message, waiting_for=None, finished_at=now
    )


def _skipped_with(job: JobState, need: JobState, now: datetime) -> JobState:
    if need.status is Status.SKIPPED:
        return _skipped(job, need.reason, f"It needs `{need.key}`, which was skipped.", now)
    return _skipped(job, Reason.DEPENDENCY_FAILED, f"It needs `{need.key}`, which did not end well.", now)


def _skipped(job: JobState, reason: Reason | None, message: str, now: datetime) -> JobState:
    return replace(
        job, status=Status.SKIPPED, reason=reason, message=message, waiting_for=None, finished_at=now
    )
