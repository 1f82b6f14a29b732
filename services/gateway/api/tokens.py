"""The resource `tokens`. A token is shown only when it is created. Only its hash is stored."""

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, StringConstraints

from services.gateway.http.answers import Page, PageFilters, View, json_answer, no_content, paged
from services.gateway.http.fields import Id, Instant, Moment, QueryId, Shape, Text
from services.gateway.http.problems import conflict, forbidden, invalid, not_found, unauthorized
from services.gateway.http.routing import Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Caller, Scope, included
from services.gateway.quotas import check_quota
from services.gateway.store import people
from shared.crypto import hash_token, new_token

PREFIX_LENGTH = 8
_EXPIRES = "At the latest when the token that makes it expires. Absent: when that one does."


class NewToken(Shape):
    name: Annotated[Text, StringConstraints(min_length=1, max_length=200)] = Field(
        description="What it is for."
    )
    scopes: list[Scope] = Field(
        [Scope.READ, Scope.WRITE],
        min_length=1,
        max_length=3,
        description="Each includes the ones before it: read, write, admin.",
    )
    expires_at: Moment | None = Field(None, description=_EXPIRES)
    user_id: Id | None = Field(None, description="For somebody else; administrators only.")


class TokenFilters(PageFilters):
    user_id: QueryId | None = Field(None, description="Of somebody else; administrators only.")


class TokenSummary(View):
    id: int
    user_id: int
    name: str
    prefix: str = Field(description="Its first characters, to recognise it by.")
    scopes: list[Scope]
    created_at: Instant
    expires_at: Instant | None
    revoked_at: Instant | None
    last_used_at: Instant | None
    parent_id: int | None = Field(description="The token that made it: it ends with that one. null: none.")


class Token(TokenSummary):
    token: str = Field(description="Keep it: it is never shown again.")


def _owner(caller: Caller, user_id: int | None) -> int:
    """Return the user whose tokens are meant. Raises Problem 403 if only an administrator may access them."""
    if user_id is None or user_id == caller.user_id:
        return caller.user_id
    if not caller.may(Scope.ADMIN):
        raise forbidden("Only an administrator may do this for somebody else.")
    return user_id


def _check(wanted: NewToken, caller: Caller, owner: Any) -> None:
    """Raise Problem 403 if the new token would have more rights than the creating token or its owner."""
    beyond = included(frozenset(wanted.scopes)) - included(caller.scopes)
    if beyond or (Scope.ADMIN in wanted.scopes and not owner["is_admin"]):
        raise forbidden(
            "A token cannot allow more than the one that makes it, nor more than its owner may do."
        )


async def _parent(work: Any, call: Call[NewToken, NoFilters]) -> Any:
    """Return the token that creates the new one, locked.

    Raises Problem 401 if it has ended in the meantime, or 422 if the new token would expire later.
    """
    parent = await work.hold_parent(call.caller.token_id)
    if parent is None:
        call.gateway.callers.forget()
        raise unauthorized("This token is not known, or no longer valid.")
    wanted, latest = call.body.expires_at, parent["expires_at"]
    if wanted is not None and latest is not None and wanted > latest:
        message = "A token cannot outlive the one that makes it: give an earlier time, or none."
        raise invalid("body.expires_at", "beyond_parent", message)
    return parent


async def create(call: Call[NewToken, NoFilters]) -> web.Response:
    wanted = call.body
    owner_id = _owner(call.caller, wanted.user_id)
    token = new_token()
    async with call.gateway.store.transaction() as work:
        parent = await _parent(work, call)
        owner = await work.user(owner_id)
        if owner is None or owner["disabled_at"] is not None:
            raise not_found()
        _check(wanted, call.caller, owner)
        await check_quota(work, call, "tokens", owner_id)
        scopes = sorted(scope.value for scope in set(wanted.scopes))
        expires_at = wanted.expires_at or parent["expires_at"]
        secret = (token[:PREFIX_LENGTH], hash_token(token))
        columns = people.NewToken(owner_id, wanted.name, *secret, scopes, expires_at, parent["id"])
        row = await work.insert_token(columns)
        details = {"user_id": owner_id, "scopes": scopes, "parent": parent["id"]}
        await work.audit(call.caller.user_id, "token.created", f"token:{row['id']}", details)
    return json_answer(Token.of(row, token=token), 201, {"Cache-Control": "no-store"})


async def listed(call: Call[NoBody, TokenFilters]) -> web.Response:
    owner_id = _owner(call.caller, call.query.user_id)
    async with call.gateway.store.reading() as work:
        return await paged(call, TokenSummary, lambda before, limit: work.tokens(owner_id, before, limit))


async def revoke(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        ended = await work.revoke_token(call.id, call.caller.user_id, or_anyones=call.caller.may(Scope.ADMIN))
        if ended is None:
            raise not_found()
        if call.caller.token_id in ended:
            raise conflict("own_token", "This would end the token in use and lock you out: use another one.")
        details = {"children": sorted(ended - {call.id})}
        await work.audit(call.caller.user_id, "token.revoked", f"token:{call.id}", details)
    call.gateway.callers.forget()
    return no_content()


ROUTES = (
    Route(
        method="POST",
        path="/tokens",
        handler=create,
        summary="Make a token.",
        scope=Scope.WRITE,
        body=NewToken,
        answers={201: Answer("The token, this once.", Token)},
        problems=frozenset({404, 409}),
    ),
    Route(
        method="GET",
        path="/tokens",
        handler=listed,
        summary="Your tokens.",
        query=TokenFilters,
        answers={200: Answer("A page.", Page[TokenSummary])},
    ),
    Route(
        method="DELETE",
        path="/tokens/{id}",
        handler=revoke,
        summary="Revoke a token and all that it made, for good.",
        scope=Scope.WRITE,
        answers={204: Answer("Revoked.")},
        problems=frozenset({409}),
    ),
)
