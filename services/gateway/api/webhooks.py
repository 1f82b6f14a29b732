"""The routes of webhooks.

`services.gateway.webhooks.receive` handles them. They skip the token and body checks of the API's other
routes.
"""

from functools import partial

from aiohttp import web
from pydantic import BaseModel, Field

from services.gateway.gateway import Gateway
from services.gateway.http.answers import View
from services.gateway.http.routing import Answer, HeaderParameter, Route
from services.gateway.webhooks.receive import FORGES, Forge


class Payload(BaseModel):
    """The payload of the forge. It is stored as received."""


class Accepted(View):
    delivery_id: str = Field(description="The forge's own id; of a duplicate that of the first delivery.")
    status: str = Field(description="`accepted`, `duplicate`, or `pong` for a ping.")


class Known(View):
    delivery_id: str | None = None
    status: str


async def _forge_wide(gateway: Gateway, request: web.Request, *, forge: Forge) -> web.StreamResponse:
    return await gateway.webhooks.forge_wide(request, forge)


async def _of_repository(gateway: Gateway, request: web.Request, *, forge: Forge) -> web.StreamResponse:
    return await gateway.webhooks.of_repository(request, forge)


def _headers(forge: Forge) -> tuple[HeaderParameter, ...]:
    signature = "HMAC-SHA256 of the raw body with the secret, 64 lower-case hexadecimal digits"
    shared = (
        HeaderParameter(forge.event, "What kind of event.", "^[!-~]{1,200}$", is_required=True),
        HeaderParameter(forge.delivery, "The id of this delivery.", "^[!-~]{1,200}$", is_required=True),
    )
    if forge.plain_signature:
        own = HeaderParameter(
            forge.plain_signature,
            f"{signature}. Or X-Hub-Signature-256 as GitHub sends it.",
            "^[0-9a-f]{64}$",
        )
        return (*shared, own)
    return (
        *shared,
        HeaderParameter(
            "X-Hub-Signature-256", f"sha256= and the {signature}.", "^sha256=[0-9a-f]{64}$", is_required=True
        ),
    )


def _routes(forge: Forge) -> tuple[Route, Route]:
    answers = {
        202: Answer("Accepted: it survives the crash of any process.", Accepted),
        200: Answer("Known already, or a ping.", Known),
    }
    problems = frozenset({400, 401, 408, 413, 415, 422, 503})
    return (
        Route(
            method="POST",
            path=f"/webhooks/{forge.name}",
            direct=partial(_forge_wide, forge=forge),
            summary="Take a webhook signed with the forge-wide secret.",
            scope=None,
            body=Payload,
            headers=_headers(forge),
            answers=answers,
            problems=problems,
        ),
        Route(
            method="POST",
            path=f"/webhooks/{forge.name}/{{hook_key}}",
            direct=partial(_of_repository, forge=forge),
            summary="Take a webhook signed with a repository's own secret.",
            scope=None,
            body=Payload,
            headers=_headers(forge),
            answers=answers,
            problems=problems | {403},
        ),
    )


ROUTES = tuple(route for forge in FORGES.values() for route in _routes(forge))
