"""Event handling: creates decisions and runs from events, and ends runs of closed pull requests.

The caller holds the transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from services.scheduler.approvals import REPLACED, Forks
from services.scheduler.concurrency import membership
from services.scheduler.engine import fold
from services.scheduler.identities import KnownRepository
from services.scheduler.pace import Pace
from services.scheduler.planning import Plan, plan_apart
from services.scheduler.revisions import Revisions
from services.scheduler.runs import NewRun, create_runs, stop_runs
from services.scheduler.store import Candidate, InsertedEvent, Row, SchedulerWork
from shared.events import Event
from shared.matching import Circumstances, Decision, Outcome, PatternBudget, Why, decide, fork_policy
from shared.pipeline.globs import repository_lookup
from shared.pipeline.model import Pipeline
from shared.preview import UNREADABLE
from shared.statuses import Reason, Status

_log = structlog.get_logger()


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
    """Ends runs that have not started: those of closed pull requests, and those whose approval is void.

    Runs that have started continue, because their verdict on the merged commit is still useful. Returns True
    if admission may have work.
    """
    events = [one for one in stored_events if one.event.pull_request is not None]
    closings = [
        (one.event_id, *one.pull_request, one.event.happened_at)
        for one in events
        if one.event.action == "closed"
    ]
    pushes = [one.event_id for one in events if one.event.action != "closed"]
    closed_by = await work.superseded_runs(closings) if closings else {}
    ended_by = (await work.replaced_fork_runs(pushes) if pushes else {}) | closed_by
    runs = [
        run
        for run in (await work.lock_runs(ended_by) if ended_by else [])
        if fold(run.state, run.attempts, run.locked_at).status is Status.PENDING
    ]
    endings = {run.id: (ended_by[run.id], None if run.id in closed_by else REPLACED) for run in runs}
    changed = [
        await stop_runs(
            work,
            [run for run in runs if endings[run.id] == (event_id, message)],
            Reason.SUPERSEDED,
            f"event:{event_id}",
            message,
        )
        for event_id, message in dict.fromkeys(endings.values())
    ]
    return any(changed)


async def start_runs(
    work: SchedulerWork, revisions: Revisions, stored_events: Sequence[StoredEvent], forks: Forks
) -> bool:
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
    facts = _Facts(await _closings(work, stored_events), await _replaced(work, stored_events), forks)
    decisions: list[Row] = []
    runs: list[NewRun] = []
    budget, pace = PatternBudget(revisions.pattern_steps), Pace()
    for one in stored_events:
        for candidate in candidates:
            if candidate.repository_id != one.repository.id:
                continue
            await pace.keep()
            pipeline = models[candidate.revision_id]
            decision = _decide_safely(one, candidate, pipeline, facts, budget)
            decisions.append(_decision_row(one, candidate, decision))
            if pipeline is not None and decision.outcome is Outcome.RUN:
                planned = await plan_apart(pipeline, one.event, one.stored.stored_at)
                runs.append(_new_run(one, candidate, pipeline, planned, forks))
    run_ids = await create_runs(work, runs)
    await work.insert_decisions(
        [row | {"run_id": run_ids.get((row["event_id"], row["pipeline_config_id"]))} for row in decisions]
    )
    return bool(runs)


@dataclass(frozen=True, slots=True)
class _Facts:
    """Facts that decisions about pull requests need."""

    closings: dict[tuple[int, int], datetime | None]
    replaced: set[int]
    """The events from forks after which a newer push is known."""
    forks: Forks


async def _replaced(work: SchedulerWork, stored_events: Iterable[StoredEvent]) -> set[int]:
    untrusted = [one.event_id for one in stored_events if not one.event.trusted]
    return await work.replaced_events(untrusted) if untrusted else set()


async def _closings(
    work: SchedulerWork, stored_events: Iterable[StoredEvent]
) -> dict[tuple[int, int], datetime | None]:
    pull_requests = {one.pull_request for one in stored_events if one.event.pull_request is not None}
    return await work.closings(pull_requests) if pull_requests else {}


def _decide_safely(
    one: StoredEvent,
    candidate: Candidate,
    pipeline: Pipeline | None,
    facts: _Facts,
    budget: PatternBudget,
) -> Decision:
    """Like `_decide`, but a pipeline that breaks the code gets a decision that says so.

    The event's other pipelines may be of other owners, and get their own decisions.
    """
    try:
        return _decide(one, candidate, pipeline, facts, budget)
    except Exception as error:  # noqa: BLE001 - any bug is of this pipeline alone
        _log.exception("decision_failed", revision_id=candidate.revision_id)
        text = (
            f"The scheduler failed to decide ({type(error).__name__}). This is a bug of Towpath; its log has "
            "more."
        )
        return Decision(Outcome.NOT_MATCHED, (Why("platform", text),))


def _decide(
    one: StoredEvent,
    candidate: Candidate,
    pipeline: Pipeline | None,
    facts: _Facts,
    budget: PatternBudget,
) -> Decision:
    if pipeline is None:
        return UNREADABLE
    key = one.event_id, candidate.owner_id
    if over := budget.spend(key, one.event, pipeline, one.repository.names):
        return over
    return decide(
        one.event,
        pipeline,
        Circumstances(
            one.repository.names,
            candidate.owner_may_use,
            facts.closings.get(one.pull_request),
            candidate.enabled,
            facts.forks.can_run,
            one.event_id in facts.replaced,
        ),
        budget.file_steps(key),
    )


def _decision_row(one: StoredEvent, candidate: Candidate, decision: Decision) -> Row:
    return {
        "event_id": one.event_id,
        "pipeline_config_id": candidate.pipeline_config_id,
        "revision_id": candidate.revision_id,
        "outcome": decision.outcome,
        "reasons": [{"code": why.code, "text": why.text} for why in decision.reasons],
    }


def _new_run(
    one: StoredEvent, candidate: Candidate, pipeline: Pipeline, planned: Plan, forks: Forks
) -> NewRun:
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
        membership=membership(pipeline.concurrency, planned.group, happened_at, trusted=one.event.trusted),
        fork_policy=fork_policy(one.event, pipeline),
        approval_seconds=forks.approval_seconds,
    )
