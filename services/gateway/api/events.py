"""The resource `events`: events of the forges, and the decision for each pipeline, even if no run started."""

from typing import Literal

from aiohttp import web
from pydantic import Field

from services.gateway.api.run_views import EventKind
from services.gateway.http.answers import Page, PageFilters, View, json_answer, paged
from services.gateway.http.fields import Instant, Moment, QueryId, Text
from services.gateway.http.problems import not_found
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route


class EventFilters(PageFilters):
    kind: EventKind | None = None
    repository: Text | None = Field(None, description="Full name, as octo/web.")
    branch: Text | None = None
    sha: Text | None = None
    pull_request: QueryId | None = None
    received_after: Moment | None = None
    received_before: Moment | None = None


class EventSummary(View):
    id: int
    kind: EventKind
    action: str | None
    repository_id: int | None
    repository: str
    ref: str | None
    branch: str | None
    tag: str | None
    sha: str | None
    before_sha: str | None
    base_branch: str | None
    pull_request: int | None
    title: str | None
    message: str | None
    sender_login: str | None
    trusted: bool
    deleted: bool
    forced: bool
    happened_at: Instant | None
    received_at: Instant
    created_at: Instant
    delivery_id: str | None = Field(description="The forge's own id.")
    source: str | None
    inputs: dict[str, str] = Field(description="The inputs that were given, as text. Others have defaults.")
    waiting_for: Literal["ref"] | None = Field(
        description="Its branch, tag or commit is being looked up at the repository's server."
    )


class DecisionReason(View):
    code: str
    text: str


class Decision(View):
    """The decision for one of your pipelines."""

    id: int
    pipeline_config_id: int
    pipeline: str
    revision_id: int
    revision: int
    outcome: Literal[
        "run", "not_matched", "filtered", "skipped", "untrusted", "superseded", "not_allowed", "ref_gone"
    ]
    reasons: list[DecisionReason]
    run_id: int | None
    decided_at: Instant


class Event(EventSummary):
    changed_files: list[str] | None = Field(
        description="The files that the push of a branch changed, of all its commits. null: not known, or "
        "another event."
    )
    files_unknown: str | None = Field(description="Why they are not known, such as `forced`.")
    decisions: list[Decision]


async def listed(call: Call[NoBody, EventFilters]) -> web.Response:
    query = call.query
    async with call.gateway.store.transaction() as work:
        repositories = None if query.repository is None else await work.repository_ids(query.repository)
        filters = (
            query.kind,
            repositories,
            query.branch,
            query.sha,
            query.pull_request,
            query.received_after,
            query.received_before,
        )
        return await paged(
            call, EventSummary, lambda before, limit: work.events(call.caller, before, limit, filters)
        )


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        row = await work.event(call.id, call.caller)
        if row is None:
            raise not_found()
        decisions = await work.decisions(call.id, call.caller)
    return json_answer(Event.of(row, decisions=[Decision.of(decision) for decision in decisions]))


ROUTES = (
    Route(
        method="GET",
        path="/events",
        handler=listed,
        summary="Events of the repositories granted to you; administrators see all.",
        query=EventFilters,
        answers={200: Answer("A page.", Page[EventSummary])},
    ),
    Route(
        method="GET",
        path="/events/{id}",
        handler=show,
        summary="An event, with the decision and its reasons for each of your pipelines.",
        answers={200: Answer("The event.", Event)},
    ),
)
