"""The resource `deliveries`: accepted webhooks and their outcomes."""

from typing import Literal

from aiohttp import web
from pydantic import Field

from services.gateway.http.answers import Page, PageFilters, View, json_answer, paged
from services.gateway.http.fields import TRACE_ID, Filters, Instant, Text
from services.gateway.http.problems import not_found
from services.gateway.http.routing import Answer, Call, NoBody, Route
from shared.tracing import trace_id_of

Source = Literal["github", "gitea"]
Outcome = Literal["event", "ignored", "unknown_repository", "repository_mismatch", "other_hook", "failed"]


class DeliveryFilters(PageFilters):
    source: Source | None = None
    event_type: Text | None = None
    outcome: Outcome | None = None


class DeliveryChoice(Filters):
    source: Source | None = Field(None, description="Where two forges gave out the same id.")


class DeliverySummary(View):
    id: int
    delivery_id: str = Field(description="The forge's own id.")
    source: Source
    event_type: str
    received_at: Instant
    via_inlet: bool = Field(description="It was accepted while the record was away.")
    body_bytes: int
    outcome: Outcome | None = Field(description="null: not decided yet.")
    reason: str | None
    event_id: int | None
    repository_id: int | None
    decided_at: Instant | None


class Delivery(DeliverySummary):
    headers: dict[str, str]
    body_sha256: str
    is_body_kept: bool
    trace_id: str | None = Field(description=TRACE_ID)


async def listed(call: Call[NoBody, DeliveryFilters]) -> web.Response:
    query = call.query
    filters = (query.source, query.event_type, query.outcome)
    async with call.gateway.store.reading() as work:
        return await paged(
            call,
            DeliverySummary,
            lambda before, limit: work.list_deliveries(call.caller, before, limit, filters),
        )


async def show(call: Call[NoBody, DeliveryChoice]) -> web.Response:
    async with call.gateway.store.reading() as work:
        row = await work.delivery(call.caller, call.path["delivery_id"], call.query.source)
    if row is None:
        raise not_found()
    return json_answer(Delivery.of(row, trace_id=trace_id_of(row["traceparent"])))


ROUTES = (
    Route(
        method="GET",
        path="/deliveries",
        handler=listed,
        summary="Deliveries for the repositories granted to you; administrators see all.",
        query=DeliveryFilters,
        answers={200: Answer("A page.", Page[DeliverySummary])},
    ),
    Route(
        method="GET",
        path="/deliveries/{delivery_id}",
        handler=show,
        summary="A delivery by the forge's own id.",
        query=DeliveryChoice,
        answers={200: Answer("The delivery.", Delivery)},
    ),
)
