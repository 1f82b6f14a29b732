"""Event handling: creates decisions and runs from events, and ends runs of closed pull requests.

The caller holds the transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.scheduler.concurrency import membership
from services.scheduler.engine import fold
from services.scheduler.identities import KnownRepository
from services.scheduler.pace import Pace
from services.scheduler.planning import Plan, plan_apart
from services.scheduler.revisions import Revisions
from services.scheduler.runs import NewRun, create_runs, stop_runs
from services.scheduler.store import Candidate, InsertedEvent, Row, SchedulerWork
from shared.events import Event
from shared.matching import Circumstances, Decision, Outcome, PatternBudget, decide
from shared.pipeline.globs import repository_lookup
from shared.pipeline.model import Pipeline
from shared.preview import UNREADABLE
from shared.statuses import Reason, Status


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that this transaction has stored."""

    stored: InsertedEvent
    event: Event
    repository: KnownRepository
    traceparent: str | None

    @property
    def event_id(self) -> int:
        return self.stored.id

    @property
    def pull_request(self) -> tuple[int, int]:
        """Returns (repository id, pull request number); the number is 0 if the event has no pull request."""
        return self.repository.id, self.event.pull_request or 0


async def supersede(work: SchedulerWork, stored_events: Iterable[StoredEvent]) -> bool:
    """Ends the runs of closed pull requests that have not started. Returns True if admission may have work.

    Runs that have started continue, because their verdict on the merged commit is still useful.
    """
    closings = [
        (one.event_id, *one.pull_request, one.event.happened_at)
        for one in stored_events
        if one.event.action == "closed"
    ]
    if not closings:
        return False
    closed_by = await work.superseded_runs(closings)
    runs = [
        run
        for run in await work.lock_runs(closed_by)
        if fold(run.state, run.attempts, run.locked_at).status is Status.PENDING
    ]
    changed = [
        await stop_runs(
            work,
            [run for run in runs if closed_by[run.id] == event_id],
            Reason.SUPERSEDED,
            f"event:{event_id}",
        )
        for event_id in sorted({closed_by[run.id] for run in runs})
    ]
    return any(changed)


async def start_runs(work: SchedulerWork, revisions: Revisions, stored_events: Sequence[StoredEvent]) -> bool:
    """Decides about each event and each pipeline that names its repository, and creates the resulting runs.

    Returns True if it created any.
    """
    keys = {
        (one.repository.id, key)
        for one in stored_events
        for name in one.repository.names
        for key in repository_lookup(name)
    }
    candidates = await work.candidates(keys) if keys else []
    if not candidates:
        return False
    models = await revisions.get(work, (candidate.revision_id for candidate in candidates))
    closings = await _closings(work, stored_events)
    decisions: list[Row] = []
    runs: list[NewRun] = []
    budget, pace = PatternBudget(revisions.pattern_steps), Pace()
    for one in stored_events:
        for candidate in candidates:
            if candidate.repository_id != one.repository.id:
                continue
            await pace.keep()
            pipeline = models[candidate.revision_id]
            decision = _decide(one, candidate, pipeline, closings.get(one.pull_request), budget)
            decisions.append(_decision_row(one, candidate, decision))
            if pipeline is not None and decision.outcome is Outcome.RUN:
                planned = await plan_apart(pipeline, one.event, one.stored.stored_at)
                runs.append(_new_run(one, candidate, pipeline, planned))
    run_ids = await create_runs(work, runs)
    await work.insert_decisions(
        [row | {"run_id": run_ids.get((row["event_id"], row["pipeline_config_id"]))} for row in decisions]
    )
    return bool(runs)


async def _closings(
    work: SchedulerWork, stored_events: Iterable[StoredEvent]
) -> dict[tuple[int, int], datetime | None]:
    pull_requests = {one.pull_request for one in stored_events if one.event.pull_request is not None}
    return await work.closings(pull_requests) if pull_requests else {}


def _decide(
    one: StoredEvent,
    candidate: Candidate,
    pipeline: Pipeline | None,
    closed_at: datetime | None,
    budget: PatternBudget,
) -> Decision:
    if pipeline is None:
        return UNREADABLE
    if over := budget.spend((one.event_id, candidate.owner_id), one.event, pipeline, one.repository.names):
        return over
    return decide(
        one.event,
        pipeline,
        Circumstances(one.repository.names, candidate.owner_may_use, closed_at, candidate.enabled),
    )


def _decision_row(one: StoredEvent, candidate: Candidate, decision: Decision) -> Row:
    return {
        "event_id": one.event_id,
        "pipeline_config_id": candidate.pipeline_config_id,
        "revision_id": candidate.revision_id,
        "outcome": decision.outcome,
        "reasons": [{"code": why.code, "text": why.text} for why in decision.reasons],
    }


def _new_run(one: StoredEvent, candidate: Candidate, pipeline: Pipeline, planned: Plan) -> NewRun:
    happened_at = min(one.event.happened_at or one.stored.stored_at, one.stored.stored_at)
    return NewRun(
        plan=planned,
        pipeline_config_id=candidate.pipeline_config_id,
        revision_id=candidate.revision_id,
        event_id=one.event_id,
        repository_id=one.repository.id,
        event_kind=one.event.kind,
        branch=one.event.branch,
        sha=one.event.sha,
        traceparent=one.traceparent,
        triggered_by=f"{one.repository.forge}:{one.event.sender_login or 'unknown'}",
        cause=f"event:{one.event_id}",
        membership=membership(pipeline.concurrency, planned.group, happened_at),
    )
