"""The resources of secrets: those of a repository, and those of the installation.

A secret is a variable of the jobs that list its name. Maintainers set the secrets of their repository,
administrators those of the installation, which the repositories they name may use. Values can be written but
never read.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints

from services.gateway.api.grants import check_maintainer
from services.gateway.gateway import Gateway
from services.gateway.http.answers import Page, PageFilters, View, json_answer, no_content, paged
from services.gateway.http.fields import Id, Instant, Shape, Text
from services.gateway.http.problems import conflict, invalid, not_found, unavailable
from services.gateway.http.routing import LOCATION, Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope
from shared.masking import SHORTEST_LINE, SHORTEST_VALUE, forms_of
from shared.pipeline.errors import BadValue
from shared.pipeline.values import SECRET_NAME, secret_name

_BODY_BYTES = 512 << 10
"""A value of 64 KiB, most of whose characters are written as escapes in JSON."""
_MOST_REPOSITORIES = 1000


def _checked_name(text: str) -> str:
    try:
        return secret_name(text)
    except BadValue as error:
        raise ValueError(" ".join(part for part in (f"{error.message}.", error.hint) if part)) from error


Name = Annotated[
    Text,
    StringConstraints(min_length=1, max_length=128),
    AfterValidator(_checked_name),
    Field(json_schema_extra={"pattern": f"^{SECRET_NAME}$"}),
]
Value = Annotated[Text, StringConstraints(min_length=SHORTEST_VALUE, max_length=64 << 10)]
Repositories = Annotated[tuple[Id, ...], Field(max_length=_MOST_REPOSITORIES, strict=False)]


class NewSecret(Shape):
    name: Name
    value: Value


class NewValue(Shape):
    value: Value


class NewSharedSecret(NewSecret):
    repositories: Repositories = Field(
        (), description="The ids of the repositories whose jobs may use it; none: nobody's yet."
    )


class SharedSecretChange(Shape):
    """A change of a secret of the installation. An absent field stays unchanged."""

    value: Value | None = None
    repositories: Repositories | None = None


class Secret(View):
    """A secret without its value."""

    name: str
    created_by: int
    created_at: Instant
    updated_by: int
    updated_at: Instant


class SharedSecret(Secret):
    repositories: list[int] = Field(description="The ids of the repositories whose jobs may use it.")


def _shared(row: Any) -> SharedSecret:
    return SharedSecret.of(row, repositories=list(row["allowed_repositories"]))


def _check_value(gateway: Gateway, value: str) -> None:
    """Raise Problem 422 if the value is too large, or could not be masked in logs."""
    size, limit = len(value.encode()), gateway.settings.secret_bytes
    if size > limit:
        message = f"The value has {size} bytes; at most {limit} (TOWPATH_SECRET_BYTES)."
        raise invalid("body.value", "too_large", message)
    if not forms_of(value.encode()):
        message = (
            f"Such a value can't be masked in logs: it needs {SHORTEST_VALUE} characters on one line, or a "
            f"line of at least {SHORTEST_LINE} characters if it has several lines."
        )
        raise invalid("body.value", "not_maskable", message)


async def _check_repositories(work: Any, repositories: Sequence[int]) -> None:
    unknown = sorted(set(repositories) - await work.known_repositories(repositories))
    if unknown:
        message = f"There is no repository {', '.join(map(str, unknown[:10]))}."
        raise invalid("body.repositories", "unknown_repository", message)


async def _create(work: Any, call: Call[Any, Any], repository_id: int | None, name: str) -> int | None:
    """Return the id of a new secret without a value, or None if there is one of this name.

    Raises Problem 409 if the repository has too many. The repository stays locked until the transaction ends,
    so concurrent requests cannot exceed the limit together.
    """
    if repository_id is not None:
        if await work.lock_repository(repository_id) is None:
            raise not_found()
        limit = call.gateway.settings.secrets_per_repository
        if await work.count_secrets(repository_id) >= limit and not await work.secret(repository_id, name):
            raise conflict(
                "too_many_secrets",
                f"A repository may have {limit} secrets here (TOWPATH_SECRETS_PER_REPOSITORY). "
                "Delete one first.",
            )
    secret_id: int | None = await work.insert_secret(repository_id, name, call.caller.user_id)
    return secret_id


async def _store_value(work: Any, call: Call[Any, Any], secret_id: int, value: str) -> None:
    keyring = call.gateway.keyring
    if keyring is None:
        raise unavailable("This gateway has no encryption keys, so it keeps no secrets.")
    version_id = await work.next_secret_version()
    encrypted = keyring.encrypt(value.encode(), table="secret_versions", column="value", row=version_id)
    await work.insert_secret_version(version_id, secret_id, encrypted, call.caller.user_id)


async def _audit(
    work: Any, call: Call[Any, Any], action: str, repository_id: int | None, **details: Any
) -> None:
    what = "installation" if repository_id is None else f"repository:{repository_id}"
    await work.audit(call.caller.user_id, f"secret.{action}", what, details)


def _already_set(name: str) -> Exception:
    return conflict("already_set", f"There is a secret {name}. PUT replaces its value.")


# ---------------------------------------------------------------- of a repository


async def create(call: Call[NewSecret, NoFilters]) -> web.Response:
    name = call.body.name
    async with call.gateway.store.transaction() as work:
        await check_maintainer(work, call)
        _check_value(call.gateway, call.body.value)
        secret_id = await _create(work, call, call.id, name)
        if secret_id is None:
            raise _already_set(name)
        await _store_value(work, call, secret_id, call.body.value)
        await _audit(work, call, "created", call.id, name=name)
        row = await work.secret(call.id, name)
    return json_answer(Secret.of(row), 201, {"Location": f"/repositories/{call.id}/secrets/{name}"})


async def listed(call: Call[NoBody, PageFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        await check_maintainer(work, call)
        return await paged(call, Secret, lambda before, limit: work.secrets(call.id, before, limit))


async def put(call: Call[NewValue, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        await check_maintainer(work, call)
        name = _name_in_path(call)
        _check_value(call.gateway, call.body.value)
        created = await _create(work, call, call.id, name)
        row = await work.secret(call.id, name)
        assert row is not None  # noqa: S101 - the repository is locked, so nobody deletes it meanwhile
        await _store_value(work, call, row["id"], call.body.value)
        await _audit(work, call, "changed" if created is None else "created", call.id, name=name)
        row = await work.secret(call.id, name)
    return json_answer(Secret.of(row))


async def delete(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        await check_maintainer(work, call)
        if await work.lock_repository(call.id) is None:
            raise not_found()
        if not await work.delete_secret(call.id, call.path["name"], call.caller.user_id):
            raise not_found()
        await _audit(work, call, "deleted", call.id, name=call.path["name"])
    return no_content()


def _name_in_path(call: Call[Any, Any]) -> str:
    """Return the name in the path. Raises Problem 422 if no secret can have it."""
    try:
        return _checked_name(call.path["name"])
    except ValueError as error:
        raise invalid("path.name", "bad_secret_name", str(error)) from error


# ---------------------------------------------------------------- of the installation


async def create_shared(call: Call[NewSharedSecret, NoFilters]) -> web.Response:
    name, repositories = call.body.name, sorted(set(call.body.repositories))
    _check_value(call.gateway, call.body.value)
    async with call.gateway.store.transaction() as work:
        await _check_repositories(work, repositories)
        secret_id = await _create(work, call, None, name)
        if secret_id is None:
            raise _already_set(name)
        await _store_value(work, call, secret_id, call.body.value)
        await work.set_secret_repositories(secret_id, repositories, call.caller.user_id)
        await _audit(work, call, "created", None, name=name, repositories=repositories)
        row = await work.secret(None, name)
    return json_answer(_shared(row), 201, {"Location": f"/secrets/{name}"})


async def listed_shared(call: Call[NoBody, PageFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return await paged(
            call, SharedSecret, lambda before, limit: work.secrets(None, before, limit), _shared
        )


async def change_shared(call: Call[SharedSecretChange, NoFilters]) -> web.Response:
    value, wanted = call.body.value, call.body.repositories
    if value is not None:
        _check_value(call.gateway, value)
    async with call.gateway.store.transaction() as work:
        found = await work.secret(None, call.path["name"])
        if found is None:
            raise not_found()
        details: dict[str, Any] = {"name": found["name"], "value": value is not None}
        if value is not None:
            await _store_value(work, call, found["id"], value)
        if wanted is not None:
            await _check_repositories(work, wanted)
            details["repositories"] = [list(found["allowed_repositories"]), sorted(set(wanted))]
            await work.set_secret_repositories(found["id"], sorted(set(wanted)), call.caller.user_id)
        await _audit(work, call, "changed", None, **details)
        row = await work.secret(None, found["name"])
    return json_answer(_shared(row))


async def delete_shared(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        if not await work.delete_secret(None, call.path["name"], call.caller.user_id):
            raise not_found()
        await _audit(work, call, "deleted", None, name=call.path["name"])
    return no_content()


_OF_REPOSITORY, _SHARED = "/repositories/{id}/secrets", "/secrets"

ROUTES = (
    Route(
        method="POST",
        path=_OF_REPOSITORY,
        handler=create,
        summary="Add a secret to a repository; for its maintainers.",
        scope=Scope.WRITE,
        body=NewSecret,
        body_bytes=_BODY_BYTES,
        answers={201: Answer("The secret, without its value.", Secret, headers=LOCATION)},
        problems=frozenset({409}),
    ),
    Route(
        method="GET",
        path=_OF_REPOSITORY,
        handler=listed,
        summary="The names of a repository's secrets; for its maintainers.",
        query=PageFilters,
        answers={200: Answer("A page.", Page[Secret])},
    ),
    Route(
        method="PUT",
        path=_OF_REPOSITORY + "/{name}",
        handler=put,
        summary="Set the value of a secret, which is created if it does not exist; for maintainers.",
        scope=Scope.WRITE,
        body=NewValue,
        body_bytes=_BODY_BYTES,
        answers={200: Answer("The secret, without its value.", Secret)},
        problems=frozenset({409}),
    ),
    Route(
        method="DELETE",
        path=_OF_REPOSITORY + "/{name}",
        handler=delete,
        summary="Delete a secret. Jobs that have started keep it; for maintainers.",
        scope=Scope.WRITE,
        answers={204: Answer("Deleted.")},
    ),
    Route(
        method="POST",
        path=_SHARED,
        handler=create_shared,
        summary="Add a secret of the installation, for named repositories.",
        scope=Scope.ADMIN,
        body=NewSharedSecret,
        body_bytes=_BODY_BYTES,
        answers={201: Answer("The secret, without its value.", SharedSecret, headers=LOCATION)},
        problems=frozenset({409}),
    ),
    Route(
        method="GET",
        path=_SHARED,
        handler=listed_shared,
        summary="The names of the installation's secrets.",
        scope=Scope.ADMIN,
        query=PageFilters,
        answers={200: Answer("A page.", Page[SharedSecret])},
    ),
    Route(
        method="PUT",
        path=_SHARED + "/{name}",
        handler=change_shared,
        summary="Change the value of a secret of the installation, or who may use it.",
        scope=Scope.ADMIN,
        body=SharedSecretChange,
        body_bytes=_BODY_BYTES,
        answers={200: Answer("The secret, without its value.", SharedSecret)},
    ),
    Route(
        method="DELETE",
        path=_SHARED + "/{name}",
        handler=delete_shared,
        summary="Delete a secret of the installation. Jobs that have started keep it.",
        scope=Scope.ADMIN,
        answers={204: Answer("Deleted.")},
    ),
)
