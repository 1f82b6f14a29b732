"""The resource `sign-in-links`: addresses that sign a browser in to the dashboard, each once."""

import secrets
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, Field, StringConstraints

from services.gateway.http.answers import json_answer
from services.gateway.http.fields import Instant, Shape
from services.gateway.http.routing import Answer, Call, NoFilters, Route
from services.gateway.people import Scope
from shared.crypto import hash_secret

LINK_SECONDS = 600
_PATH = Field("/ui/", description="The page of the dashboard that it opens.", examples=["/ui/runs/12"])


class NewLink(Shape):
    path: Annotated[str, StringConstraints(pattern=r"^/ui/[!-\[\]-~]{0,500}$")] = _PATH


class Link(BaseModel):
    url: str = Field(description="Open it in a browser. It acts as your token, and ends with it.")
    expires_at: Instant


async def create(call: Call[NewLink, NoFilters]) -> web.Response:
    secret = secrets.token_urlsafe(32)
    async with call.gateway.store.transaction() as work:
        expires_at = await work.insert_sign_in_link(
            hash_secret(secret), call.caller.token_id, call.body.path, LINK_SECONDS
        )
        await work.audit(call.caller.user_id, "sign_in_link.created", f"token:{call.caller.token_id}")
    address = call.gateway.settings.public_url.rstrip("/") or str(call.request.url.origin())
    link = Link(url=f"{address}/ui/link#{secret}", expires_at=expires_at)
    return json_answer(link, 201, {"Cache-Control": "no-store"})


ROUTES = (
    Route(
        method="POST",
        path="/sign-in-links",
        handler=create,
        summary="Make a link that signs a browser in to the dashboard. It works once, within 10 minutes.",
        scope=Scope.WRITE,
        body=NewLink,
        is_body_optional=True,
        answers={201: Answer("The link, this once.", Link)},
    ),
)
