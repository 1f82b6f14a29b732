"""The resource `clusters`: the clusters on which jobs can run, with the labels by which jobs choose them."""

from aiohttp import web
from pydantic import BaseModel, Field

from services.gateway.http.answers import View, json_answer
from services.gateway.http.fields import Instant
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route


class ClusterView(View):
    name: str
    labels: dict[str, str] = Field(description="What `cluster` of a job may ask for.")
    registered_at: Instant
    seen_at: Instant = Field(description="The last time that an executor of the cluster reported.")


class Clusters(BaseModel):
    items: list[ClusterView]


async def listed(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return json_answer(Clusters(items=[ClusterView.of(row) for row in await work.clusters()]))


ROUTES = (
    Route(
        method="GET",
        path="/clusters",
        handler=listed,
        summary="The clusters on which jobs can run.",
        answers={200: Answer("All clusters, by name.", Clusters)},
    ),
)
