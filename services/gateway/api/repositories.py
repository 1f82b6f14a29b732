"""The resource `repositories`: registered repositories with their clone URLs and secrets.

Administrators register repositories. Maintainers may change them. Secrets can be written but never read.
"""

import secrets
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, StringConstraints

from services.gateway.gateway import Gateway
from services.gateway.http.answers import (
    Page,
    PageFilters,
    View,
    check_version,
    json_answer,
    no_content,
    paged,
)
from services.gateway.http.etags import etag_of
from services.gateway.http.fields import Id, Instant, Shape, Text
from services.gateway.http.problems import Problem, conflict, forbidden, invalid, not_found, unavailable
from services.gateway.http.routing import ETAG, IF_MATCH, LOCATION, Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope
from services.gateway.store.repositories import AlreadyRegistered, NewRepository, RepositoryChange
from shared.clone_urls import address_of, clone_url_fault

Forge = Literal["github", "gitea"]
FullName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,100}/[A-Za-z0-9_.-]{1,100}$")]
_CLONE_URL = Field(
    description="https://, without credentials, not in a private network.",
    examples=["https://github.com/octo/web.git"],
)
CloneUrl = Annotated[Text, StringConstraints(min_length=1, max_length=2000), _CLONE_URL]
Secret = Annotated[Text, StringConstraints(min_length=6, max_length=1000)]


class Registration(Shape):
    full_name: FullName
    forge: Forge = "github"
    forge_id: Id | None = Field(
        None, description="The forge's number for it. Absent: learned from the first verified delivery."
    )
    clone_url: CloneUrl
    webhook_secret: Secret | None = Field(
        None, description="For a hook of its own. Absent: the forge-wide secret counts."
    )
    clone_token: Secret | None = Field(None, description="Given to git when it clones, and to nothing else.")


class RegistrationChange(Shape):
    """The changes to a repository. An absent field stays unchanged. A secret that is null is removed."""

    full_name: FullName | None = None
    clone_url: CloneUrl | None = None
    forge_id: Id | None = None
    hook_target_type: (
        Literal["repository", "organization", "integration", "business", "enterprise"] | None
    ) = Field(
        None,
        description="GitHub: the hook that counts when several send the same. Absent: the first one seen.",
    )
    webhook_secret: Secret | None = None
    clone_token: Secret | None = None


_IDENTITY = ("forge_id", "full_name", "hook_target_type")


class RepositoryFilters(PageFilters):
    full_name: Text | None = None
    forge: Forge | None = None


class Repository(View):
    id: int
    forge: Forge
    forge_id: int | None
    full_name: str
    clone_url: str
    hook_key: str
    webhook_url: str = Field(description="Where the forge's webhook goes.")
    hook_target_type: str | None
    has_webhook_secret: bool
    has_clone_token: bool
    role: Literal["maintainer", "viewer"] | None = Field(
        description="Yours; null: you see it as an administrator."
    )
    created_by: int
    created_at: Instant
    updated_at: Instant


def _view(call: Call[Any, Any], row: Any) -> Repository:
    address = call.gateway.settings.public_url.rstrip("/") or str(call.request.url.origin())
    own = f"/{row['hook_key']}" if row["has_webhook_secret"] else ""
    return Repository.of(row, webhook_url=f"{address}/webhooks/{row['forge']}{own}")


def _shown(call: Call[Any, Any], row: Any, status: int = 200, **headers: str) -> web.Response:
    return json_answer(_view(call, row), status, {"ETag": etag_of(row["version"]), **headers})


def _check_clone_url(gateway: Gateway, url: str | None) -> None:
    fault = None if url is None else clone_url_fault(url, allow_local=gateway.settings.allow_local_clone_urls)
    if fault:
        raise invalid("body.clone_url", "clone_url", fault)


def _check_identity_stays(row: Any, call: Call[RegistrationChange, NoFilters]) -> None:
    """Raise Problem 403 if a caller who is not an administrator changes the repository's identity.

    A repository with the identity of another one would get the other one's events.
    """
    wanted = call.body.model_dump(include=set(_IDENTITY), exclude_none=True)
    # An equal forge_id counts too: it would turn an id seen in a delivery into a registered one.
    changes = [field for field, value in wanted.items() if field == "forge_id" or row[field] != value]
    if changes and not call.caller.may(Scope.ADMIN):
        fields = ", ".join(_IDENTITY)
        raise forbidden(f"Only an administrator may change what the repository is at its forge: {fields}.")


def _identity_changes(before: Any, after: Any) -> dict[str, list[Any]]:
    """Return the old and the new value of each identity field that changed."""
    return {field: [before[field], after[field]] for field in _IDENTITY if before[field] != after[field]}


def _check_token_stays(row: Any, wanted: RegistrationChange) -> None:
    """Raise Problem 422 if the clone URL changes to another address and the stored token is kept.

    A maintainer must not be able to send the token to another server, or to clone another repository of the
    same server with it.
    """
    if wanted.clone_url is None or not row["has_clone_token"] or "clone_token" in wanted.model_fields_set:
        return
    if address_of(wanted.clone_url) != address_of(row["clone_url"]):
        message = "The stored token is for the old clone_url only: give one with the new clone_url, or null."
        raise invalid("body.clone_token", "needed", message)


async def _set_secrets(call: Call[Any, Any], work: Any, repository_id: int) -> bool:
    """Store the secrets that the body contains. A secret that is null is removed.

    Return True if the body contains the webhook secret, even if it is null.
    """
    named = call.body.model_fields_set & {"webhook_secret", "clone_token"}
    for column, store in (("webhook_secret", work.set_webhook_secret), ("clone_token", work.set_clone_token)):
        if column in named:
            await store(
                repository_id, _encrypted(call.gateway, getattr(call.body, column), column, repository_id)
            )
    return "webhook_secret" in named


def _encrypted(gateway: Gateway, secret: str | None, column: str, repository_id: int) -> bytes | None:
    if secret is None:
        return None
    if gateway.keyring is None:
        raise unavailable("This gateway has no encryption keys, so it keeps no secrets.")
    return gateway.keyring.encrypt(secret.encode(), table="repositories", column=column, row=repository_id)


def _registered() -> Problem:
    return conflict("already_registered", "A repository of this name, or with this forge id, is registered.")


async def register(call: Call[Registration, NoFilters]) -> web.Response:
    body = call.body
    _check_clone_url(call.gateway, body.clone_url)
    async with call.gateway.store.transaction() as work:
        columns = NewRepository(
            body.forge,
            body.forge_id,
            body.full_name,
            body.clone_url,
            secrets.token_urlsafe(24),
            call.caller.user_id,
        )
        try:
            repository_id = await work.insert_repository(columns)
        except AlreadyRegistered as error:
            raise _registered() from error
        has_hook = await _set_secrets(call, work, repository_id)
        await work.audit(
            call.caller.user_id,
            "repository.registered",
            f"repository:{repository_id}",
            {"full_name": body.full_name, "forge": body.forge, "forge_id": body.forge_id},
        )
        row = await work.repository(repository_id, call.caller)
    if has_hook:
        await call.gateway.hook_secrets.changed()
    return _shown(call, row, 201, Location=f"/repositories/{repository_id}")


async def listed(call: Call[NoBody, RepositoryFilters]) -> web.Response:
    query = call.query
    async with call.gateway.store.reading() as work:

        async def read(before: int, limit: int) -> list[Any]:
            return await work.repositories(call.caller, before, limit, query.full_name, query.forge)

        return await paged(call, Repository, read, lambda row: _view(call, row))


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return _shown(call, await _visible(work, call))


async def _visible(work: Any, call: Call[Any, Any]) -> Any:
    row = await work.repository(call.id, call.caller)
    if row is None:
        raise not_found()
    return row


async def _held(work: Any, call: Call[Any, Any]) -> Any:
    """Return the repository, locked until the transaction ends, if the caller may change it.

    Raises Problem 404 if the caller cannot see it, 403 if the caller is neither maintainer nor administrator,
    or 412 if If-Match names another version.
    """
    row = await _visible(work, call)
    if row["role"] != "maintainer" and not call.caller.is_admin:
        raise forbidden("Only the repository's maintainers may do this.")
    held = await work.lock_repository(call.id)
    if held is None:
        raise not_found()
    check_version(call, "repository", held["version"])
    return await _visible(work, call)  # read again, because it may have changed before it was locked


async def change(call: Call[RegistrationChange, NoFilters]) -> web.Response:
    body = call.body
    _check_clone_url(call.gateway, body.clone_url)
    async with call.gateway.store.transaction() as work:
        before = await _held(work, call)
        _check_identity_stays(before, call)
        _check_token_stays(before, body)
        try:
            await work.change_repository(
                call.id,
                RepositoryChange(body.full_name, body.clone_url, body.forge_id, body.hook_target_type),
            )
        except AlreadyRegistered as error:
            raise _registered() from error
        await _set_secrets(call, work, call.id)
        row = await work.repository(call.id, call.caller)
        details = {"fields": sorted(body.model_fields_set), "identity": _identity_changes(before, row)}
        await work.audit(call.caller.user_id, "repository.changed", f"repository:{call.id}", details)
    await call.gateway.hook_secrets.changed()
    return _shown(call, row)


async def delete(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        await _held(work, call)
        await work.delete_repository(call.id)
        await work.audit(call.caller.user_id, "repository.deleted", f"repository:{call.id}")
    await call.gateway.hook_secrets.changed()
    return no_content()


_ONE = {200: Answer("The repository.", Repository, headers=ETAG)}

ROUTES = (
    Route(
        method="POST",
        path="/repositories",
        handler=register,
        summary="Register a repository.",
        scope=Scope.ADMIN,
        body=Registration,
        answers={201: Answer("The repository.", Repository, headers=ETAG | LOCATION)},
        problems=frozenset({409}),
    ),
    Route(
        method="GET",
        path="/repositories",
        handler=listed,
        summary="Repositories granted to you; administrators see all.",
        query=RepositoryFilters,
        answers={200: Answer("A page.", Page[Repository])},
    ),
    Route(method="GET", path="/repositories/{id}", handler=show, summary="A repository.", answers=_ONE),
    Route(
        method="PATCH",
        path="/repositories/{id}",
        handler=change,
        summary="Change a repository; for its maintainers. Its identity at the forge: for administrators.",
        scope=Scope.WRITE,
        body=RegistrationChange,
        headers=(IF_MATCH,),
        answers=_ONE,
        problems=frozenset({409, 412}),
    ),
    Route(
        method="DELETE",
        path="/repositories/{id}",
        handler=delete,
        summary="Forget a repository: its hooks are refused and its events start nothing.",
        scope=Scope.ADMIN,
        headers=(IF_MATCH,),
        answers={204: Answer("Deleted.")},
        problems=frozenset({412}),
    ),
)
