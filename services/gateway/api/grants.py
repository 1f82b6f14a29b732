"""The resource `grants`: the roles of users on a repository.

A viewer can see the repository's events and runs. The pipelines of a maintainer can match the repository.
"""

from typing import Any, Literal

from aiohttp import web

from services.gateway.http.answers import Page, PageFilters, View, json_answer, no_content, paged
from services.gateway.http.fields import Instant, Shape
from services.gateway.http.problems import forbidden, not_found
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope

Role = Literal["maintainer", "viewer"]


class NewGrant(Shape):
    role: Role


class Grant(View):
    user_id: int
    name: str
    email: str
    role: Role
    created_at: Instant


async def check_maintainer(work: Any, call: Call[Any, Any]) -> None:
    """Raise Problem 404 if the caller cannot see the repository, 403 if the caller is no maintainer."""
    row = await work.repository(call.id, call.caller)
    if row is None:
        raise not_found()
    if row["role"] != "maintainer" and not call.caller.is_admin:
        raise forbidden("Only the repository's maintainers may do this.")


async def listed(call: Call[NoBody, PageFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        await check_maintainer(work, call)
        return await paged(call, Grant, lambda before, limit: work.grants(call.id, before, limit))


async def grant(call: Call[NewGrant, NoFilters]) -> web.Response:
    user_id = call.path["user_id"]
    async with call.gateway.store.transaction() as work:
        await check_maintainer(work, call)
        row = await work.set_grant(call.id, user_id, call.body.role)
        if row is None:
            raise not_found()
        await work.audit(
            call.caller.user_id,
            "repository.granted",
            f"repository:{call.id}",
            {"user_id": user_id, "role": call.body.role},
        )
    return json_answer(Grant.of(row))


async def withdraw(call: Call[NoBody, NoFilters]) -> web.Response:
    user_id = call.path["user_id"]
    async with call.gateway.store.transaction() as work:
        await check_maintainer(work, call)
        if not await work.delete_grant(call.id, user_id):
            raise not_found()
        await work.audit(
            call.caller.user_id, "repository.grant_withdrawn", f"repository:{call.id}", {"user_id": user_id}
        )
    return no_content()


ROUTES = (
    Route(
        method="GET",
        path="/repositories/{id}/grants",
        handler=listed,
        summary="Who may use a repository; for its maintainers.",
        query=PageFilters,
        answers={200: Answer("A page.", Page[Grant])},
    ),
    Route(
        method="PUT",
        path="/repositories/{id}/grants/{user_id}",
        handler=grant,
        summary="Let a user use a repository, in this role.",
        scope=Scope.WRITE,
        body=NewGrant,
        answers={200: Answer("The grant.", Grant)},
    ),
    Route(
        method="DELETE",
        path="/repositories/{id}/grants/{user_id}",
        handler=withdraw,
        summary="Take a grant back.",
        scope=Scope.WRITE,
        answers={204: Answer("Taken back.")},
    ),
)
