"""The resource `users`: people and programs. Administrators manage them."""

from typing import Annotated

from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints

from services.gateway.http.answers import Page, PageFilters, View, json_answer, no_content, paged
from services.gateway.http.fields import Instant, Shape, Text
from services.gateway.http.problems import conflict, not_found
from services.gateway.http.routing import LOCATION, Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope

PersonName = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
Email = Annotated[
    str,
    StringConstraints(min_length=3, max_length=254, pattern=r"^[!-?A-~]+@[!-?A-~]+$"),
    AfterValidator(str.lower),
]


class NewUser(Shape):
    name: PersonName
    email: Email = Field(description="Kept in lower case; nobody else has it.")
    is_admin: bool = False


class UserChange(Shape):
    """The changes to a user. An absent field stays unchanged."""

    name: PersonName | None = None
    is_admin: bool | None = None
    disabled: bool | None = Field(None, description="A disabled user's tokens are refused.")


class User(View):
    id: int
    name: str
    email: str
    is_admin: bool
    created_at: Instant
    disabled_at: Instant | None


async def create(call: Call[NewUser, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        row = await work.insert_user(call.body.name, call.body.email, is_admin=call.body.is_admin)
        if row is None:
            raise conflict("email_taken", "Somebody has this e-mail address.")
        await work.audit(
            call.caller.user_id, "user.created", f"user:{row['id']}", {"is_admin": call.body.is_admin}
        )
    return json_answer(User.of(row), 201, {"Location": f"/users/{row['id']}"})


async def listed(call: Call[NoBody, PageFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return await paged(call, User, work.users)


async def me(call: Call[NoBody, NoFilters]) -> web.Response:
    return await _show(call, call.caller.user_id)


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    return await _show(call, call.id)


async def _show(call: Call[NoBody, NoFilters], user_id: int) -> web.Response:
    async with call.gateway.store.reading() as work:
        row = await work.user(user_id)
    if row is None:
        raise not_found()
    return json_answer(User.of(row))


async def change(call: Call[UserChange, NoFilters]) -> web.Response:
    return json_answer(await _changed(call, call.body))


async def disable(call: Call[NoBody, NoFilters]) -> web.Response:
    await _changed(call, UserChange(disabled=True))
    return no_content()


async def _changed(call: Call[UserChange, NoFilters] | Call[NoBody, NoFilters], wanted: UserChange) -> User:
    """Change a user and return it.

    Raises Problem 404 if there is no such user. Raises 409 if an administrator would disable or demote
    themselves, or if no active administrator would be left.
    """
    async with call.gateway.store.transaction() as work:
        others = set(await work.lock_admins()) - {call.id}
        if (wanted.is_admin is False or wanted.disabled) and (call.id == call.caller.user_id or not others):
            raise conflict(
                "own_account",
                "Administrators do not disable or demote themselves, so that one is always left.",
            )
        row = await work.change_user(call.id, wanted.name, wanted.is_admin, wanted.disabled)
        if row is None:
            raise not_found()
        await work.audit(
            call.caller.user_id, "user.changed", f"user:{call.id}", wanted.model_dump(exclude_none=True)
        )
    call.gateway.callers.forget()
    return User.of(row)


_ONE = {200: Answer("The user.", User)}

ROUTES = (
    Route(
        method="POST",
        path="/users",
        handler=create,
        summary="Add a user.",
        scope=Scope.ADMIN,
        body=NewUser,
        answers={201: Answer("The user.", User, headers=LOCATION)},
        problems=frozenset({409}),
    ),
    Route(
        method="GET",
        path="/users",
        handler=listed,
        summary="All users.",
        scope=Scope.ADMIN,
        query=PageFilters,
        answers={200: Answer("A page.", Page[User])},
    ),
    Route(
        method="GET",
        path="/users/me",
        handler=me,
        summary="Yourself.",
        answers=_ONE,
        problems=frozenset({404}),
    ),
    Route(method="GET", path="/users/{id}", handler=show, summary="A user.", scope=Scope.ADMIN, answers=_ONE),
    Route(
        method="PATCH",
        path="/users/{id}",
        handler=change,
        summary="Change a user.",
        scope=Scope.ADMIN,
        body=UserChange,
        answers=_ONE,
        problems=frozenset({409}),
    ),
    Route(
        method="DELETE",
        path="/users/{id}",
        handler=disable,
        summary="Disable a user; what they did stays readable.",
        scope=Scope.ADMIN,
        answers={204: Answer("Disabled.")},
        problems=frozenset({409}),
    ),
)
