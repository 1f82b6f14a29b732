"""Builds the aiohttp application of the gateway from the table of routes.

Every other request gets an explicit answer: 404 for an unknown path, 405 for an unknown method. There is no
middleware, so a webhook runs only its own handler.
"""

from collections.abc import Sequence
from functools import partial

import orjson
from aiohttp import web

from services.gateway.api.docs import asset
from services.gateway.gateway import Gateway
from services.gateway.http.endpoint import Handle, endpoint
from services.gateway.http.openapi import build_document
from services.gateway.http.problems import Problem, not_found
from services.gateway.http.routing import Route
from services.gateway.routes import ROUTES
from services.gateway.web.site import add_pages, for_browsers
from shared import VERSION

HEALTH_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


def build_app(gateway: Gateway) -> web.Application:
    """Build the application. `shared.service` adds the health routes."""
    app = web.Application()
    by_path: dict[str, list[Route]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, []).append(route)
    for path, routes in by_path.items():
        _add(app, path, routes, gateway)
    document = orjson.dumps(build_document(ROUTES, VERSION))
    _add_get(app, "/openapi.json", partial(_openapi, document))
    _add_get(app, "/assets/{name}", partial(asset, gateway))
    add_pages(app, gateway)
    app.router.add_route("*", "/{anything:.*}", _unknown)
    app.on_shutdown.append(partial(_end_streams, gateway))
    app.on_cleanup.append(partial(_end_workers, gateway))
    return app


def _add(app: web.Application, path: str, routes: Sequence[Route], gateway: Gateway) -> None:
    resource = app.router.add_resource(path)
    allowed = []
    for route in routes:
        handle = _handle(route, gateway)
        resource.add_route(route.method, handle, expect_handler=_expect)
        allowed.append(route.method)
        if route.method == "GET" and not route.is_streaming:
            resource.add_route("HEAD", handle)
            allowed.append("HEAD")
    resource.add_route("*", partial(_method_not_allowed, allowed))


def _add_get(app: web.Application, path: str, handle: Handle) -> None:
    resource = app.router.add_resource(path)
    resource.add_route("GET", handle)
    resource.add_route("HEAD", handle)
    resource.add_route("*", partial(_method_not_allowed, ["GET", "HEAD"]))


def _handle(route: Route, gateway: Gateway) -> Handle:
    if route.direct is not None:
        return partial(route.direct, gateway)
    handle = endpoint(route, gateway)
    return for_browsers(route.path, handle) if route.method == "GET" else handle


async def _openapi(document: bytes, _request: web.Request) -> web.StreamResponse:
    return web.Response(
        body=document, content_type="application/json", headers={"Cache-Control": "max-age=60"}
    )


async def _method_not_allowed(allowed: Sequence[str], _request: web.Request) -> web.StreamResponse:
    return Problem(
        405, "method_not_allowed", "This path has no such method.", headers={"Allow": ", ".join(allowed)}
    ).response()


async def _unknown(request: web.Request) -> web.StreamResponse:
    if request.path in HEALTH_PATHS:
        return await _method_not_allowed(["GET", "HEAD"], request)
    return not_found().response()


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect: 100-continue`. Any other expectation is refused with 417 (RFC 9110, 10.1.1)."""
    if request.headers.get("Expect", "").lower() != "100-continue":
        return Problem(417, "expectation_failed", "Only Expect: 100-continue is understood.").response()
    await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.writer.output_size = 0
    return None


async def _end_streams(gateway: Gateway, _app: web.Application) -> None:
    gateway.live.close()


async def _end_workers(gateway: Gateway, _app: web.Application) -> None:
    """Stop the pipeline workers. aiohttp calls this after the last request."""
    await gateway.pipelines.close()
