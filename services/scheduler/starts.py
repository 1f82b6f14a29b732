"""Runs that users start: events without a delivery, whose ref is resolved before they are decided.

The caller holds the transaction.

1. The command is checked: pipeline, repository, owner, inputs. A refusal is its effect.
2. The event is stored with a request to resolve its ref. The executor of the cluster asks the repository's
   server, stores the answer, and says so.
3. The answer is folded: the event gets its commit, and is decided and planned with the pipeline's newest
   revision. A ref that is gone is a decision without a run.

Failures:
- A message is lost: reconcilers of both services take requests without an answer, and answers without a
  decision.
- Two schedulers apply a command or fold an answer at once: the second waits for a lock and finds it done.
"""

from collections.abc import Sequence
from dataclasses import replace

from services.scheduler.concurrency import membership
from services.scheduler.planning import plan_apart
from services.scheduler.revisions import Revisions
from services.scheduler.runs import NewRun, create_runs
from services.scheduler.started_events import Resolved, Subject
from services.scheduler.store import Command, Row, SchedulerWork
from shared.events import Event, EventKind
from shared.matching import Circumstances, Decision, Outcome, Why, decide
from shared.messaging.messages import CommandApplied, RefWanted
from shared.pipeline.globs import repository_matches
from shared.pipeline.inputs import faults
from shared.pipeline.model import Pipeline
from shared.preview import UNREADABLE
from shared.tracing import traced


async def start(work: SchedulerWork, revisions: Revisions, command: Command, cluster: str) -> str | None:
    """Stores the event of a command to start a run. Returns the reason of a refusal, or None."""
    wanted = command.arguments
    subject = await work.subject(command.pipeline_config_id, command.repository_id)
    if subject is None or subject.pipeline_deleted:
        return "pipeline_deleted"
    if subject.repository_deleted:
        return "repository_deleted"
    pipeline = (await revisions.get(work, [subject.revision_id]))[subject.revision_id]
    if (refusal := _refusal(subject, pipeline, wanted["inputs"])) is not None:
        return refusal
    event_id = await work.insert_event(_event_row(command, subject))
    if event_id is not None:
        ref = _ref(wanted)
        await work.insert_ref_request(event_id, cluster, ref, None if ref else wanted["sha"])
        work.send(RefWanted(cluster=cluster, event_ids=(event_id,)))
    return None


def _refusal(subject: Subject, pipeline: Pipeline | None, inputs: dict[str, str]) -> str | None:
    if pipeline is None:
        return "revision_unreadable"
    if not subject.enabled:
        return "disabled"
    if pipeline.on.manual is None:
        return "not_manual"
    if not any(repository_matches(pipeline.repositories, name) for name in subject.names):
        return "repository_not_matched"
    if not subject.owner_may_use:
        return "owner_not_maintainer"
    return "inputs_invalid" if faults(pipeline, inputs) else None


def _ref(wanted: Row) -> str | None:
    if wanted["branch"] is not None:
        return f"refs/heads/{wanted['branch']}"
    return None if wanted["tag"] is None else f"refs/tags/{wanted['tag']}"


def _event_row(command: Command, subject: Subject) -> Row:
    wanted = command.arguments
    return {
        "command_id": command.id,
        "pipeline_config_id": command.pipeline_config_id,
        "repository_id": command.repository_id,
        "kind": EventKind.MANUAL,
        "repository": subject.names[0],
        "ref": _ref(wanted),
        "branch": wanted["branch"],
        "tag": wanted["tag"],
        "requested_by": command.requested_by,
        "inputs": wanted["inputs"],
    }


async def decide_resolved(work: SchedulerWork, revisions: Revisions, event_ids: Sequence[int]) -> bool:
    """Decides those of these events whose ref was resolved. Returns True if admission may have work.

    Safe to repeat and to run concurrently: an event is decided under the lock on its request.
    """
    made_ready = False
    for one in await work.lock_resolved(event_ids):
        with traced(one.traceparent):
            made_ready |= await _decide_one(work, revisions, one)
    return made_ready


async def _decide_one(work: SchedulerWork, revisions: Revisions, one: Resolved) -> bool:
    """Decides one event. Stores the decision, the run if there is one, and the effect of the command."""
    subject = await work.subject(one.pipeline_config_id, one.repository_id)
    assert subject is not None  # noqa: S101 - a foreign key
    pipeline = (await revisions.get(work, [subject.revision_id]))[subject.revision_id]
    event = replace(one.event, sha=one.resolved_sha)
    decision = _decision(one, event, subject, pipeline)
    run_id = None
    await work.close_ref_request(one.event_id, one.resolved_sha)
    if decision.outcome is Outcome.RUN and pipeline is not None:
        run_id = await _create_run(work, pipeline, one, event, subject)
    await work.insert_decisions(
        [
            {
                "event_id": one.event_id,
                "pipeline_config_id": one.pipeline_config_id,
                "revision_id": subject.revision_id,
                "outcome": decision.outcome,
                "reasons": [{"code": why.code, "text": why.text} for why in decision.reasons],
                "run_id": run_id,
            }
        ]
    )
    if one.command_id is not None:
        outcome, reason = (
            ("refused", decision.reasons[0].code) if run_id is None else ("applied", "run_created")
        )
        await work.insert_effect(one.command_id, outcome, reason, run_id)
        work.send(CommandApplied(command_ids=(one.command_id,)))
    return run_id is not None


def _decision(one: Resolved, event: Event, subject: Subject, pipeline: Pipeline | None) -> Decision:
    """Returns the decision. What may have changed since the event was stored is checked again."""
    if one.outcome == "not_resolved":
        return _no(Outcome.SKIPPED, "ref_not_resolved", one.resolved_message)
    if one.outcome != "resolved":
        return _no(Outcome.REF_GONE, one.outcome, one.resolved_message)
    if subject.pipeline_deleted:
        return _no(Outcome.SKIPPED, "pipeline_deleted", "The pipeline has been deleted.")
    if subject.repository_deleted:
        return _no(Outcome.SKIPPED, "repository_deleted", "The repository is no longer registered.")
    if pipeline is None:
        return UNREADABLE
    decision = decide(
        event, pipeline, Circumstances(subject.names, subject.owner_may_use, None, subject.enabled)
    )
    wrong = faults(pipeline, one.inputs) if decision.outcome is Outcome.RUN else []
    return _no(Outcome.SKIPPED, "inputs_invalid", wrong[0].message) if wrong else decision


def _no(outcome: Outcome, code: str, text: str) -> Decision:
    return Decision(outcome, (Why(code, text),))


async def _create_run(
    work: SchedulerWork, pipeline: Pipeline, one: Resolved, event: Event, subject: Subject
) -> int:
    now = await work.now()
    planned = await plan_apart(pipeline, event, now, inputs=one.inputs)
    run = NewRun(
        plan=planned,
        pipeline_config_id=one.pipeline_config_id,
        revision_id=subject.revision_id,
        event_id=one.event_id,
        repository_id=one.repository_id,
        event_kind=event.kind,
        branch=event.branch,
        sha=event.sha,
        traceparent=one.traceparent,
        triggered_by=one.triggered_by,
        cause=f"event:{one.event_id}" if one.command_id is None else f"command:{one.command_id}",
        membership=membership(pipeline.concurrency, planned.group, now),
    )
    return (await create_runs(work, [run]))[one.event_id, one.pipeline_config_id]
