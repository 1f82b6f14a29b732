"""The resource `dead-letters`: messages that could not be handled. Administrators list and replay them."""

from typing import Any, Literal

import orjson
from aiohttp import web
from pydantic import Field

from services.gateway.http.answers import Page, PageFilters, View, json_answer, paged
from services.gateway.http.fields import Instant, Text
from services.gateway.http.problems import conflict, not_found, unavailable
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope
from services.gateway.webhooks.acceptance import Refused, Unavailable
from services.gateway.webhooks.deliveries import from_message
from shared.messaging.messages import DeliveryKept, decode
from shared.tracing import traced

_CAUSES = {
    "rejected": "Its handler says that nothing will ever make it right: it cannot be read, or what it "
    "names could not be handled.",
    "delivery_limit": "Its handler failed, or its process died with it in hand, as often as a message is "
    "given out.",
    "unreadable": "It is no message of this release; of the inlet, no delivery.",
    "refused": "The record refuses it, alone too.",
}
_HIDDEN = {"body", "headers"}
"""Fields of deliveries that are not shown. They come from the sender and may be confidential."""


class DeadLetterFilters(PageFilters):
    queue: Text | None = None
    state: Literal["open", "replayed"] | None = Field(
        None, description="open: nobody has replayed it since it died."
    )


class DeadLetter(View):
    id: int
    queue: str = Field(description="Where it died.")
    cause: str = Field(description="rejected, delivery_limit, unreadable or refused.")
    explanation: str
    type: str = Field(description="What the message says it is; empty: it is no message.")
    about: dict[str, Any] = Field(description="What the message says, but for the content of deliveries.")
    message_bytes: int
    can_be_replayed: bool = Field(description="false: it is no message that this release knows.")
    died_at: Instant = Field(description="The last time.")
    created_at: Instant
    replayed_at: Instant | None
    replayed_by: int | None


def _shown(row: Any) -> DeadLetter:
    message: bytes = row["message"]
    explanation = " ".join(
        part for part in (_CAUSES.get(row["cause"], "The broker laid it aside."), row["detail"]) if part
    )
    return DeadLetter.of(
        row,
        explanation=explanation,
        about=_about(message),
        message_bytes=len(message),
        can_be_replayed=_read(message) is not None,
    )


def _about(message: bytes) -> dict[str, Any]:
    try:
        said = orjson.loads(message)
    except orjson.JSONDecodeError:
        return {}
    return (
        {name: value for name, value in said.items() if name not in _HIDDEN} if isinstance(said, dict) else {}
    )


def _read(message: bytes) -> Any:
    try:
        return decode(message)
    except ValueError:
        return None


async def listed(call: Call[NoBody, DeadLetterFilters]) -> web.Response:
    state = call.query.state
    filters = (call.query.queue, None if state is None else state == "replayed")
    async with call.gateway.store.reading() as work:
        return await paged(
            call, DeadLetter, lambda before, limit: work.list_dead_letters(before, limit, filters), _shown
        )


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return json_answer(_shown(await _letter(work, call.id)))


async def replay(call: Call[NoBody, NoFilters]) -> web.Response:
    """Publish the message again. A delivery from the fallback queue is accepted again instead.

    Safe to repeat: a second call does nothing, unless the message has died again since.
    """
    async with call.gateway.store.reading() as work:
        message = _read((await _letter(work, call.id))["message"])
    if message is None:
        raise conflict(
            "not_a_message", "This is no message that this release knows: there is nothing to replay."
        )
    if isinstance(message, DeliveryKept):
        await _accept(call, message)
    async with call.gateway.store.transaction() as work:
        if await work.mark_replayed(call.id, call.caller.user_id):
            if not isinstance(message, DeliveryKept):
                with traced():  # unchanged: if it dies again, its bytes tell that it is the same letter
                    work.send(message)
            await work.audit(call.caller.user_id, "dead_letter.replayed", f"dead_letter:{call.id}")
        return json_answer(_shown(await _letter(work, call.id)))


async def _accept(call: Call[NoBody, NoFilters], message: DeliveryKept) -> None:
    try:
        await call.gateway.acceptance.accept(from_message(message))
    except Refused as error:
        raise conflict("refused", "The record refuses this delivery still.") from error
    except Unavailable as error:
        raise unavailable() from error


async def _letter(work: Any, letter_id: int) -> Any:
    row = await work.dead_letter(letter_id)
    if row is None:
        raise not_found()
    return row


ROUTES = (
    Route(
        method="GET",
        path="/dead-letters",
        handler=listed,
        summary="Messages that no handler could take; administrators only.",
        scope=Scope.ADMIN,
        query=DeadLetterFilters,
        answers={200: Answer("A page.", Page[DeadLetter])},
    ),
    Route(
        method="GET",
        path="/dead-letters/{id}",
        handler=show,
        summary="A dead letter and why it is one.",
        scope=Scope.ADMIN,
        answers={200: Answer("The dead letter.", DeadLetter)},
    ),
    Route(
        method="POST",
        path="/dead-letters/{id}/replay",
        handler=replay,
        summary="Publish it again. Repeating this changes nothing.",
        scope=Scope.ADMIN,
        answers={200: Answer("The dead letter, replayed.", DeadLetter)},
        problems=frozenset({409}),
    ),
)
