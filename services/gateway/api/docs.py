"""Serves the page that shows the OpenAPI document.

The page's script is downloaded when Towpath is built and served from here, so the browser loads nothing from
other sites.
"""

from pathlib import Path

from aiohttp import web

from services.gateway.gateway import Gateway
from services.gateway.http.problems import not_found
from services.gateway.http.routing import Answer, Route

_WEB = Path(__file__).parent.parent / "web"
_PACKAGE = _WEB / "node_modules" / "swagger-ui-dist"
ASSETS = {
    "swagger-ui.css": (_PACKAGE / "swagger-ui.css", "text/css"),
    "swagger-ui-bundle.js": (_PACKAGE / "swagger-ui-bundle.js", "text/javascript"),
    "docs.js": (_WEB / "docs.js", "text/javascript"),
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


async def page(_gateway: Gateway, _request: web.Request) -> web.StreamResponse:
    name = "docs.html" if all(path.is_file() for path, _ in ASSETS.values()) else "docs_missing.html"
    headers = {"Content-Security-Policy": _POLICY, "Content-Type": "text/html; charset=utf-8", **_SAFE}
    return web.FileResponse(_WEB / name, headers=headers)


async def asset(_gateway: Gateway, request: web.Request) -> web.StreamResponse:
    path, content_type = ASSETS.get(request.match_info["name"], (None, ""))
    if path is None or not path.is_file():
        return not_found().response()
    return web.FileResponse(
        path,
        headers={"Content-Type": f"{content_type}; charset=utf-8", "Cache-Control": "max-age=3600", **_SAFE},
    )


ROUTES = (
    Route(
        method="GET",
        path="/docs",
        direct=page,
        summary="This API as a page.",
        scope=None,
        answers={200: Answer("The page.", content_type="text/html")},
    ),
)
