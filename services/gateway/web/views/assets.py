"""Serves the stylesheet, the scripts and the mark of the dashboard."""

from aiohttp import web

from services.gateway.http.problems import not_found
from services.gateway.web.rendering import ASSETS

_SECONDS = 30 * 86400


async def asset(request: web.Request) -> web.StreamResponse:
    content, kind = ASSETS.get(request.match_info["name"], (None, ""))
    if content is None:
        return not_found().response()
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": f"public, max-age={_SECONDS}, immutable"}
    return web.Response(body=content, content_type=kind, charset="utf-8", headers=headers)
