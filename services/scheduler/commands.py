"""User commands: starts, cancels, retries and approves runs.

The caller holds the transaction. Each command is applied once, and its effect is stored together with its
changes. Commands about one run are applied one after the other: the run is locked before its open commands
are read.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from services.scheduler.approvals import Forks, approve_run
from services.scheduler.concurrency import Membership, membership
from services.scheduler.planning import Earlier, Plan, plan_apart
from services.scheduler.revisions import Revisions
from services.scheduler.runs import NewRun, create_runs, stop_runs
from services.scheduler.starts import start
from services.scheduler.store import Command, Row, SchedulerWork
from shared.matching import fork_policy
from shared.messaging.messages import CommandApplied
from shared.pipeline.inputs import faults
from shared.pipeline.model import ForkPolicy, Pipeline
from shared.statuses import TERMINAL, Reason, Status
from shared.tracing import set_trace, traced

_RETRYABLE = frozenset({Status.FAILED, Status.CANCELLED, Status.ERROR})


@dataclass(frozen=True, slots=True)
class Effect:
    outcome: str
    reason: str
    run_id: int | None = None
    """For a retry, the run that it created or found. For a cancel, the run that is cancelled."""
    wakes_admission: bool = False


async def apply_commands(
    work: SchedulerWork, revisions: Revisions, command_ids: Iterable[int], forks: Forks, cluster: str
) -> bool:
    """Applies those of these commands that have no effect yet. Returns True if admission may have work.

    A command to start a run has its effect only when its ref was resolved, by an executor of `cluster`.
    """
    ids = list(command_ids)
    await work.lock_starts(ids)
    await work.lock_runs(await work.runs_of_commands(ids))
    commands = await work.open_commands(ids)
    set_trace(command.traceparent for command in commands)
    wakes, applied = False, []
    for command in commands:
        with traced(command.traceparent):
            effect = await _apply(work, revisions, command, forks, cluster)
        if effect is not None:
            await work.insert_effect(command.id, effect.outcome, effect.reason, effect.run_id)
            wakes |= effect.wakes_admission
            applied.append(command.id)
    if applied:
        work.send(CommandApplied(command_ids=tuple(applied)))
    return wakes


async def refuse_command(work: SchedulerWork, command_id: int) -> None:
    """Refuses a command whose stored content breaks the code that applies it.

    The command is then not tried again.
    """
    for command in await work.open_commands([command_id]):
        await work.insert_effect(command.id, "refused", "command_failed", None)
        with traced(command.traceparent):
            work.send(CommandApplied(command_ids=(command.id,)))


async def _apply(
    work: SchedulerWork, revisions: Revisions, command: Command, forks: Forks, cluster: str
) -> Effect | None:
    match command.kind:
        case "start":
            refusal = await start(work, revisions, command, cluster)
            return None if refusal is None else Effect("refused", refusal)
        case "cancel":
            return await _cancel(work, command)
        case "retry":
            return await _retry(work, revisions, command, forks)
        case "approve":
            return await _approve(work, command)
        case _:
            return Effect("refused", "unknown_command")


async def _cancel(work: SchedulerWork, command: Command) -> Effect:
    """Asks the run to stop.

    The run becomes `cancelled` only after its last attempt has ended. A job that ends by itself before that
    keeps its verdict.
    """
    runs = await work.lock_runs([command.run_id])
    if not runs:
        return Effect("refused", "run_unknown")
    if runs[0].state.status in TERMINAL:
        return Effect("refused", "already_finished")
    wakes = await stop_runs(work, runs, Reason.CANCELLED_BY_USER, f"command:{command.id}")
    return Effect("applied", "cancelling", command.run_id, wakes)


async def _approve(work: SchedulerWork, command: Command) -> Effect:
    """Lets a run of a fork start."""
    done = await approve_run(work, command)
    return Effect(
        "applied" if done.is_applied else "refused",
        done.reason,
        command.run_id if done.is_applied else None,
        done.wakes_admission,
    )


async def _retry(work: SchedulerWork, revisions: Revisions, command: Command, forks: Forks) -> Effect:
    """Creates the next run of a run.

    A run has at most one next run. A second retry, simultaneous or later, returns that run. The next run of
    a fork needs an approval of its own.
    """
    run = await work.run_to_retry(command.run_id)
    if run is None:
        return Effect("refused", "run_unknown")
    if run["next_run_id"] is not None:
        return Effect("applied", "run_exists", run["next_run_id"])
    if refusal := _refusal(run):
        return Effect("refused", refusal)
    revision_id: int = (
        run["latest_revision_id"] if command.arguments.get("latest") is True else run["revision_id"]
    )
    models = await revisions.get(work, {revision_id, run["revision_id"]})
    pipeline = models.get(revision_id)
    if pipeline is None:
        return Effect("refused", "revision_unreadable")
    earlier = (
        Earlier(models.get(run["revision_id"]), await work.job_records(command.run_id))
        if command.arguments.get("only") == "failed"
        else None
    )
    event = await work.event(run["event_id"])
    policy = fork_policy(event, pipeline)
    if refusal := await _refusal_of_pipeline(work, run, pipeline, policy, forks):
        return Effect("refused", refusal)
    planned = await plan_apart(pipeline, event, run["now"], earlier, run["inputs"])
    member = membership(pipeline.concurrency, planned.group, run["now"], trusted=event.trusted)
    again = replace(
        _next_run(run, revision_id, planned, member, command),
        fork_policy=policy,
        approval_seconds=forks.approval_seconds,
    )
    ids = await create_runs(work, [again])
    return Effect(
        "applied", "run_created", ids[again.event_id, again.pipeline_config_id], wakes_admission=True
    )


def _refusal(run: Row) -> str | None:
    """Returns the reason why a run cannot be retried, or None if it can."""
    if Status(run["status"]) not in _RETRYABLE:
        return "not_retryable"
    if run["repository_deleted"]:
        return "repository_deleted"
    if run["pipeline_deleted"]:
        return "pipeline_deleted"
    return None if run["owner_may_use"] else "owner_not_maintainer"


async def _refusal_of_pipeline(
    work: SchedulerWork, run: Row, pipeline: Pipeline, policy: ForkPolicy | None, forks: Forks
) -> str | None:
    """Returns the reason why the run's pipeline does not allow a retry, or None if it does."""
    if run["inputs"] and faults(pipeline, run["inputs"]):
        return "inputs_invalid"
    return None if policy is None else await _fork_refusal(work, run["event_id"], policy, forks)


async def _fork_refusal(work: SchedulerWork, event_id: int, policy: ForkPolicy, forks: Forks) -> str | None:
    """Returns the reason why a run of a fork cannot be retried, or None if it can."""
    if not forks.can_run:
        return "forks_not_supported"
    if policy == "ignore":
        return "forks_ignored"
    return "approval_void" if policy == "approve" and await work.replaced_events([event_id]) else None


def _next_run(
    run: Row, revision_id: int, planned: Plan, member: Membership | None, command: Command
) -> NewRun:
    return NewRun(
        plan=planned,
        pipeline_config_id=run["pipeline_config_id"],
        revision_id=revision_id,
        event_id=run["event_id"],
        repository_id=run["repository_id"],
        event_kind=run["event_kind"],
        branch=run["branch"],
        sha=run["sha"],
        triggered_by=f"retry:user:{command.requested_by}",
        cause=f"command:{command.id}",
        membership=member,
        traceparent=command.traceparent,
        rerun=run["rerun"] + 1,
        retry_of=run["id"],
    )
