"""Serves the JSON Schema of the pipeline language, for editors and other programs.

It needs no token, because it has no data. It changes only with the version of Towpath.
"""

import hashlib

import orjson
from aiohttp import web

from services.gateway.gateway import Gateway
from services.gateway.http.etags import has_current
from services.gateway.http.routing import Answer, HeaderParameter, Route
from shared.pipeline.schema import json_schema

CONTENT_TYPE = "application/schema+json"
_DOCUMENT = orjson.dumps(json_schema())
_ETAG = f'"{hashlib.sha256(_DOCUMENT).hexdigest()[:32]}"'
_HEADERS = {"ETag": _ETAG, "Cache-Control": "public, max-age=300", "X-Content-Type-Options": "nosniff"}
_SHOWN = {"ETag": "For If-None-Match.", "Cache-Control": "How long it may be kept without asking again."}


async def pipeline_schema(_gateway: Gateway, request: web.Request) -> web.StreamResponse:
    if has_current(request.headers.get("If-None-Match"), _ETAG):
        return web.Response(status=304, headers=_HEADERS)
    return web.Response(body=_DOCUMENT, content_type=CONTENT_TYPE, headers=_HEADERS)


ROUTES = (
    Route(
        method="GET",
        path="/schema/pipeline.json",
        direct=pipeline_schema,
        summary="The JSON Schema of the pipeline language, for editors.",
        scope=None,
        headers=(
            HeaderParameter("If-None-Match", "The ETag of an earlier answer. The same version is 304."),
        ),
        answers={
            200: Answer("JSON Schema, draft 2020-12.", content_type=CONTENT_TYPE, headers=_SHOWN),
            304: Answer("Not changed since the version that If-None-Match names.", headers=_SHOWN),
        },
    ),
)
