"""The resource `audit`: who changed what, and when. Administrators read it; nobody changes it."""

from typing import Any

from aiohttp import web
from pydantic import Field

from services.gateway.http.answers import Page, PageFilters, View, paged
from services.gateway.http.fields import TRACE_ID, Instant, Moment, QueryId, Text
from services.gateway.http.routing import Answer, Call, NoBody, Route
from services.gateway.people import Scope
from services.gateway.store.audit import AuditFilters
from shared.tracing import trace_id_of


class AuditQuery(PageFilters):
    user_id: QueryId | None = None
    action: Text | None = Field(None, description="pipeline.created; or pipeline, for all of its actions.")
    object: Text | None = Field(None, description="As pipeline:12.")
    at_after: Moment | None = None
    at_before: Moment | None = None


class AuditEntry(View):
    """A change that somebody made."""

    id: int
    at: Instant
    user_id: int | None = Field(description="null: a forge, or a program on the server.")
    user: str | None = Field(description="The user's name today.")
    action: str
    object: str
    details: dict[str, Any] = Field(description="Depends on the action. Never a secret.")
    token_id: int | None = Field(description="The token of the request. null: it was no request of this API.")
    address: str | None = Field(description="The peer of the connection. Behind a proxy it is the proxy.")
    trace_id: str | None = Field(description=TRACE_ID)


async def listed(call: Call[NoBody, AuditQuery]) -> web.Response:
    query = call.query
    filters = AuditFilters(query.user_id, query.action, query.object, query.at_after, query.at_before)
    async with call.gateway.store.reading() as work:
        return await paged(
            call, AuditEntry, lambda before, limit: work.list_audit(before, limit, filters), _shown
        )


def _shown(row: Any) -> AuditEntry:
    return AuditEntry.of(row, trace_id=trace_id_of(row["traceparent"]))


ROUTES = (
    Route(
        method="GET",
        path="/audit",
        handler=listed,
        summary="Who changed what; administrators only. `_after` includes, `_before` excludes.",
        scope=Scope.ADMIN,
        query=AuditQuery,
        answers={200: Answer("A page.", Page[AuditEntry])},
    ),
)
