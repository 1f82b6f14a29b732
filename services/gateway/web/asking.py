"""Asks the API on behalf of a session's user.

A question goes to the handler of the API's route, after the same check of scope, query and body as a request
with a token. Refusals are the API's own problems.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from aiohttp import web
from multidict import CIMultiDict
from pydantic import BaseModel, ValidationError

from services.gateway.http.endpoint import check_scope
from services.gateway.http.problems import Problem, faults_of
from services.gateway.http.routing import Call, NoBody, Route
from services.gateway.routes import ROUTES
from services.gateway.web.pages import Visit

_ROUTES = {f"{route.method} {route.path}": route for route in ROUTES}


class Answer(NamedTuple):
    """A successful answer of the API."""

    status: int
    json: Any
    version: str
    """Its ETag, for `if_match`. Empty if it has none."""


async def ask(
    visit: Visit,
    question: str,
    *,
    query: Mapping[str, str] | None = None,
    body: Mapping[str, Any] | None = None,
    if_match: str | None = None,
    **values: Any,
) -> Answer:
    """Ask a route of the API, such as `GET /runs/{id}`. `values` are the parameters of its path.

    Raises Problem and Transient.
    """
    route = _ROUTES[question]
    check_scope(route, visit.caller)
    if route.handler is None:
        raise RuntimeError("this route needs the request itself")
    headers = CIMultiDict({"Host": visit.request.host})
    if if_match is not None:
        headers["If-Match"] = if_match
    path = route.path.format(**values)
    request = visit.request.clone(method=route.method, rel_url=path, headers=headers)
    call = Call(visit.gateway, request, visit.caller, values, _body(route, body), _query(route, query or {}))
    response = await route.handler(call)
    content = response.body if isinstance(response, web.Response) else None
    json = orjson.loads(content) if isinstance(content, bytes) and content else None
    return Answer(response.status, json, response.headers.get("ETag", ""))


def _query(route: Route, values: Mapping[str, str]) -> BaseModel:
    try:
        return route.query.model_validate(dict(values))
    except ValidationError as error:
        raise _invalid(error, "query") from error


def _body(route: Route, values: Mapping[str, Any] | None) -> BaseModel:
    if route.body is None or values is None:
        return NoBody() if route.body is None else route.body()
    try:
        return route.body.model_validate_json(orjson.dumps(values))
    except ValidationError as error:
        raise _invalid(error, "body") from error


def _invalid(error: ValidationError, where: str) -> Problem:
    return Problem(422, "invalid", "The request is not valid.", errors=faults_of(error, where))
