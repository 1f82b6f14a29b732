"""The resource `limits`: the limits of this gateway, for clients that want to stay below them."""

from dataclasses import asdict

from aiohttp import web
from pydantic import BaseModel, Field

from services.gateway.http.answers import View, json_answer
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route
from services.gateway.limits import limits_of


class LimitView(View):
    setting: str = Field(description="The environment variable of the gateway that sets it.")
    value: float
    unit: str
    reason: str


class Limits(BaseModel):
    items: list[LimitView]


async def listed(call: Call[NoBody, NoFilters]) -> web.Response:
    return json_answer(
        Limits(items=[LimitView.of(asdict(limit)) for limit in limits_of(call.gateway.settings)])
    )


ROUTES = (
    Route(
        method="GET",
        path="/limits",
        handler=listed,
        summary="The limits of this gateway, with the values in force.",
        answers={200: Answer("All limits.", Limits)},
    ),
)
