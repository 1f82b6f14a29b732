"""Turns a route into an aiohttp handler.

The handler checks token, path, query and body in this order, and then calls the route's own handler. Every
exception is turned into an answer: a `Problem` into its own status, `Transient` into 503, any other exception
into 500 with a traceback in the log.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from prometheus_client import Histogram
from pydantic import BaseModel, ValidationError

from services.gateway.gateway import Gateway
from services.gateway.http.fields import Filters, id_in_path, is_storable
from services.gateway.http.problems import Fault, Problem, faults_of, forbidden, not_found, unavailable
from services.gateway.http.routing import Call, NoBody, Route
from services.gateway.people import Caller, Origin, requested_from
from services.gateway.webhooks.body_memory import Share
from services.gateway.webhooks.intake import BodyLimits, check_encoding, check_single, read_body
from shared.errors import Transient
from shared.seldom import Seldom
from shared.tracing import continued, traced

_log = structlog.get_logger()
_failed = Seldom("request_failed")
_seconds = Histogram(
    "towpath_api_seconds",
    "Answering a request",
    ["method", "path"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.05, 0.2, 1, 5),
)

TEXT_PARAMETERS = frozenset({"delivery_id", "hook_key", "name"})

Handle = Callable[[web.Request], Awaitable[web.StreamResponse]]


def endpoint(route: Route, gateway: Gateway) -> Handle:
    """Return the aiohttp handler of a route. A request continues the trace of its client or begins one."""

    async def handle(request: web.Request) -> web.StreamResponse:
        with traced(continued(request.headers.getall("traceparent", ()))):
            return await answer(request)

    async def answer(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        try:
            with gateway.memory.share(request.remote or "") as share:
                return await _answer(route, gateway, request, share)
        except Problem as problem:
            return problem.response()
        except Transient as error:
            _failed.log(method=route.method, path=route.path, why=str(error))
            return unavailable().response()
        except Exception:  # noqa: BLE001 - a request's outermost edge: its bug is its own
            _log.exception("request_crashed", method=route.method, path=route.path)
            return Problem(500, "internal", "This is a bug in Towpath. It has been logged.").response()
        finally:
            _seconds.labels(route.method, route.path).observe(time.perf_counter() - started)

    return handle


async def _answer(route: Route, gateway: Gateway, request: web.Request, share: Share) -> web.StreamResponse:
    if route.scope is None or route.handler is None:
        raise RuntimeError("routes without a token are served directly")
    check_single(request)
    caller = await gateway.callers.caller(request.headers.get("Authorization"))
    check_scope(route, caller)
    path = {name: _parameter(name, request.match_info[name]) for name in route.parameters}
    query = _query(route.query, request)
    body = await _body(route, gateway, request, share)
    with requested_from(Origin(caller.token_id, request.remote)):
        return await route.handler(Call(gateway, request, caller, path, body, query))


def check_scope(route: Route, caller: Caller) -> None:
    """Raise Problem 403 if the caller's token does not have the scope of the route."""
    if route.scope is not None and not caller.may(route.scope):
        raise forbidden(
            f"This needs a token with the scope {route.scope.value}"
            + (" of an administrator." if route.scope == "admin" else ".")
        )


def _parameter(name: str, text: str) -> Any:
    if name in TEXT_PARAMETERS:
        if not is_storable(text) or len(text) > 200:
            raise not_found()
        return text
    number = id_in_path(text)
    if number is None:
        raise not_found()
    return number


def _invalid(faults: list[Fault]) -> Problem:
    return Problem(422, "invalid", "The request is not valid.", errors=faults)


def _query(model: type[Filters], request: web.Request) -> Filters:
    values = request.query
    doubled = sorted({name for name in values if len(values.getall(name)) > 1})
    if doubled:
        raise _invalid([Fault(path="query", code="doubled", message="A parameter stands here twice.")])
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _invalid(faults_of(error, "query")) from error


async def _body(route: Route, gateway: Gateway, request: web.Request, share: Share) -> BaseModel:
    if route.body is None:
        return NoBody()
    if route.is_body_optional and not request.can_read_body:
        return route.body()
    check_encoding(request)
    if request.content_type != "application/json":
        raise Problem(
            415, "content_type", "The body must be application/json.", headers={"Accept": "application/json"}
        )
    settings = gateway.settings
    limits = BodyLimits(
        size_bytes=route.body_bytes,
        seconds=settings.body_seconds,
        bytes_per_second=settings.body_bytes_per_second,
    )
    raw = await read_body(request, share, limits)
    if route.is_body_optional and not raw:
        return route.body()
    try:
        return route.body.model_validate_json(raw)
    except ValidationError as error:
        raise _body_problem(raw, error) from error


def _body_problem(raw: bytes, error: ValidationError) -> Problem:
    faults = faults_of(error, "body")
    if faults[0].code != "json_invalid":
        return _invalid(faults)
    if b"\\ud" in raw.lower() and (
        "surrogate" in faults[0].message or "hex escape" in faults[0].message
    ):  # JSON allows half of a surrogate pair, Postgres does not
        return _invalid(
            [Fault(path="body", code="lone_surrogate", message="half of a surrogate pair is not a character")]
        )
    return Problem(400, "malformed_json", "The body is not JSON.", errors=faults)
