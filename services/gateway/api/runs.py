"""The resource `runs`: runs with their progress, and the commands to retry, cancel and approve them."""

from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from services.gateway.api.commands import COMMAND_REFUSALS, Command, accepted, idempotency_key
from services.gateway.api.run_views import MOST_LOG_GAPS, EventKind, LogState, Run, RunSummary, run_view
from services.gateway.http.answers import Page, PageFilters, json_answer, paged
from services.gateway.http.fields import Moment, QueryId, Shape, Text
from services.gateway.http.problems import Problem, conflict, forbidden, not_found
from services.gateway.http.routing import IDEMPOTENCY_KEY, LOCATION, Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope
from services.gateway.store.runs import RunFilters
from shared.statuses import TERMINAL, Status

RETRYABLE = frozenset({Status.FAILED, Status.CANCELLED, Status.ERROR})


class RunsFilters(PageFilters):
    status: Status | None = None
    pipeline_config_id: QueryId | None = None
    repository: Text | None = Field(None, description="Full name, as octo/web.")
    branch: Text | None = None
    sha: Text | None = Field(None, description="All 40 digits.")
    event: EventKind | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    started_after: Moment | None = None
    started_before: Moment | None = None
    finished_after: Moment | None = None
    finished_before: Moment | None = None


class Retry(Shape):
    only: Annotated[
        Literal["all", "failed"], Field(description="failed: jobs that succeeded are carried over.")
    ] = "all"
    latest: Annotated[
        bool, Field(description="With the pipeline's newest revision instead of the run's.")
    ] = False


class Cancel(Shape):
    """The body of a cancel. It has no fields."""


class Approve(Shape):
    """The body of an approval. It has no fields."""


async def listed(call: Call[NoBody, RunsFilters]) -> web.Response:
    query = call.query
    async with call.gateway.store.transaction() as work:
        repositories = None if query.repository is None else await work.repository_ids(query.repository)
        filters = RunFilters(
            query.status,
            query.pipeline_config_id,
            repositories,
            query.branch,
            query.sha,
            query.event,
            query.created_after,
            query.created_before,
            query.started_after,
            query.started_before,
            query.finished_after,
            query.finished_before,
        )
        return await paged(
            call, RunSummary, lambda before, limit: work.runs(call.caller, before, limit, filters)
        )


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return json_answer(await shown_run(work, call, call.id))


async def shown_run(work: Any, call: Call[Any, Any], run_id: int) -> Run:
    """Return the run. Raises Problem 404 if the caller may not see it."""
    row = await work.run(run_id, call.caller)
    if row is None:
        raise not_found()
    parts = (await work.jobs(run_id), await work.attempts(run_id), await work.transitions(run_id))
    state = await work.log_state(run_id)
    log_complete = state is not None and state["is_sealed"] and Status(state["status"]) in TERMINAL
    logs = LogState(log_complete, await work.log_gaps(run_id, MOST_LOG_GAPS))
    return run_view(row, logs, parts)


async def retry(call: Call[Retry, NoFilters]) -> web.Response:
    """Retry a run as a new run.

    Two concurrent retries create one run, because the scheduler numbers reruns.
    """
    command = await _commanded(call, "retry", call.body.model_dump())
    if command["outcome"] is None:
        return accepted(command)
    if command["outcome"] == "refused":
        raise _refused(command["reason"])
    async with call.gateway.store.reading() as work:
        run = await shown_run(work, call, command["new_run_id"])
    return json_answer(
        run, 201 if command["reason"] == "run_created" else 200, {"Location": f"/runs/{run.id}"}
    )


async def cancel(call: Call[Cancel, NoFilters]) -> web.Response:
    """Cancel the running and the waiting jobs of a run.

    The answer shows the run at that moment. Its processes may take their grace period to end.
    """
    command = await _commanded(call, "cancel", {})
    if command["outcome"] is None:
        return accepted(command)
    if command["outcome"] == "refused":
        raise _refused(command["reason"])
    async with call.gateway.store.reading() as work:
        return json_answer(await shown_run(work, call, call.id))


async def approve(call: Call[Approve, NoFilters]) -> web.Response:
    """Let a run of a pull request from a fork start. Approving it again changes nothing."""
    command = await _commanded(call, "approve", {})
    if command["outcome"] is None:
        return accepted(command)
    if command["outcome"] == "refused":
        raise _refused(command["reason"])
    async with call.gateway.store.reading() as work:
        return json_answer(await shown_run(work, call, call.id))


async def _commanded(call: Call[Any, Any], kind: str, arguments: dict[str, Any]) -> Any:
    """Store a command and return its row, with its effect if that is stored soon.

    The command is stored before the request waits for the effect. Raises Problem 404, 403 or 409.
    """
    key = idempotency_key(call.request)
    async with call.gateway.store.transaction() as work:
        run = await work.run(call.id, call.caller)
        if run is None:
            raise not_found()
        _check_right(kind, run)
        command_id = await _repeated(work, call, kind, arguments, key) if key else None
        if command_id is None:
            _check(kind, run)
            command_id = await work.insert_command(kind, call.id, arguments, call.caller.user_id, key)
            if command_id is None:  # another request with the same key was faster
                command_id = await _repeated(work, call, kind, arguments, key or "")
            else:
                await work.audit(
                    call.caller.user_id, f"run.{kind}", f"run:{call.id}", arguments | _approved(kind, run)
                )
    if command_id is None:
        raise RuntimeError("a command was neither stored nor there")
    return await call.gateway.effects.wait(command_id, call.caller)


async def _repeated(
    work: Any, call: Call[Any, Any], kind: str, arguments: dict[str, Any], key: str
) -> int | None:
    """Return the id of the earlier command with this key, or None.

    Raises Problem 409 if the key was used for another command, run or arguments.
    """
    earlier = await work.command_by_key(call.caller.user_id, key)
    if earlier is None:
        return None
    if (earlier["kind"], earlier["run_id"], earlier["arguments"]) != (kind, call.id, arguments):
        raise conflict("key_used", "This Idempotency-Key was used for another request.")
    return int(earlier["id"])


def _check_right(kind: str, run: Any) -> None:
    """Raise Problem 403 if the caller may not give this command.

    The owner of a pipeline does not approve: the code of a fork runs with what the repository's maintainers
    answer for.
    """
    if kind == "approve" and not run["may_approve"]:
        raise forbidden("Only the repository's maintainers and administrators may approve its runs.")
    if not run["may_command"]:
        raise forbidden("Only the pipeline's owner and the repository's maintainers may do this.")


def _approved(kind: str, run: Any) -> dict[str, Any]:
    """Return what the audit log keeps of an approval: the code and the pipeline that it is for."""
    names = ("sha", "merge_sha", "revision_id")
    return {name: run[name] for name in names} if kind == "approve" else {}


def _check(kind: str, run: Any) -> None:
    """Raise Problem 409 if the run's state already makes the command impossible."""
    status = Status(run["status"])
    if kind == "approve" and run["approval_expires_at"] is None:
        raise _refused("approval_not_needed")
    if kind == "cancel" and status in TERMINAL:
        raise _refused("already_finished")
    if kind == "retry" and status not in RETRYABLE:
        raise _refused("not_retryable")


def _refused(reason: str) -> Problem:
    return (
        not_found()
        if reason == "run_unknown"
        else conflict(reason, COMMAND_REFUSALS.get(reason, "The scheduler refused this."))
    )


_LATER = Answer("It will be done; its effect is at Location.", Command, headers=LOCATION)

ROUTES = (
    Route(
        method="GET",
        path="/runs",
        handler=listed,
        summary="Runs of your pipelines and of repositories granted to you; administrators see all. "
        "`_after` includes, `_before` excludes.",
        query=RunsFilters,
        answers={200: Answer("A page.", Page[RunSummary])},
    ),
    Route(
        method="GET",
        path="/runs/{id}",
        handler=show,
        summary="A run with its jobs, attempts and steps.",
        answers={200: Answer("The run.", Run)},
    ),
    Route(
        method="POST",
        path="/runs/{id}/retry",
        handler=retry,
        summary="Run it again: a new run.",
        scope=Scope.WRITE,
        body=Retry,
        is_body_optional=True,
        headers=(IDEMPOTENCY_KEY,),
        answers={
            201: Answer("The new run.", Run, headers=LOCATION),
            200: Answer("The run that another retry has made.", Run, headers=LOCATION),
            202: _LATER,
        },
        problems=frozenset({409}),
    ),
    Route(
        method="POST",
        path="/runs/{id}/cancel",
        handler=cancel,
        summary="Stop a run.",
        scope=Scope.WRITE,
        body=Cancel,
        is_body_optional=True,
        headers=(IDEMPOTENCY_KEY,),
        answers={200: Answer("The run.", Run), 202: _LATER},
        problems=frozenset({409}),
    ),
    Route(
        method="POST",
        path="/runs/{id}/approve",
        handler=approve,
        summary="Let a run of a pull request from a fork start. For maintainers of the repository.",
        scope=Scope.WRITE,
        body=Approve,
        is_body_optional=True,
        headers=(IDEMPOTENCY_KEY,),
        answers={200: Answer("The run.", Run), 202: _LATER},
        problems=frozenset({409}),
    ),
)
