"""The resource `commands`: requests of users to cancel, retry or approve a run, and their effects."""

from typing import Literal

from aiohttp import web
from pydantic import Field

from services.gateway.http.answers import View, json_answer
from services.gateway.http.fields import Instant
from services.gateway.http.problems import not_found
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route


class CommandArguments(View):
    """The arguments of a retry. Other commands have none."""

    only: str | None = None
    latest: bool | None = None


class Command(View):
    id: int
    kind: Literal["cancel", "retry", "approve"]
    run_id: int
    arguments: CommandArguments
    requested_by: int
    created_at: Instant
    outcome: Literal["applied", "refused"] | None = Field(description="null: not applied yet.")
    reason: str | None
    new_run_id: int | None = Field(description="Of a retry: the run that it made.")
    applied_at: Instant | None


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        row = await work.command(call.id, call.caller)
    if row is None:
        raise not_found()
    return json_answer(Command.of(row))


ROUTES = (
    Route(
        method="GET",
        path="/commands/{id}",
        handler=show,
        summary="A command of yours and its effect.",
        answers={200: Answer("The command.", Command)},
    ),
)
