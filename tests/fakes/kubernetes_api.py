"""A fake API server for answers that a real one can't be made to give on demand.

A test writes a script; each request gets the next answer of the script.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from shared.kubernetes.client import KubernetesApi, open_kubernetes

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ScriptedApi:
    """The scripts of a fake API server.

    Lists and watches each have their own script. The last answer of a script is repeated. As long as `others`
    is not empty, every request gets the next answer of `others`. Requests other than GET always do.

    `asked` holds the requests as `GET path?query`.
    """

    def __init__(self) -> None:
        self.lists: list[Answer] = []
        self.watches: list[Answer] = []
        self.others: list[Answer] = []
        self.asked: list[str] = []
        self.list_count = 0
        self.watch_count = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path_qs}")
        if self.others or request.method != "GET":
            return await self.others.pop(0)(request)
        if request.query.get("watch") == "true":
            self.watch_count += 1
            return await self.watches[min(self.watch_count, len(self.watches)) - 1](request)
        self.list_count += 1
        return await self.lists[min(self.list_count, len(self.lists)) - 1](request)


@asynccontextmanager
async def scripted_api(folder: Path) -> AsyncIterator[tuple[ScriptedApi, KubernetesApi]]:
    script = ScriptedApi()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = folder / "kubeconfig"
    server = f"http://127.0.0.1:{runner.addresses[0][1]}"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    config.write_text(json.dumps(document))
    try:
        async with open_kubernetes(config, request_seconds=5) as api:
            yield script, api
    finally:
        await runner.cleanup()


def page(items: list[Any], version: str = "1", onward: str | None = None) -> Answer:
    """Return an answer with one page of a list."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"metadata": {"resourceVersion": version, "continue": onward}, "items": items}
        )

    return answer


def refusal(
    status: int, reason: str = "", message: str = "no", headers: dict[str, str] | None = None
) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {"kind": "Status", "code": status, "reason": reason, "message": message},
            status=status,
            headers=headers,
        )

    return answer


def accepted(document: Any, status: int = 201) -> Answer:
    async def answer(_request: web.Request) -> web.StreamResponse:
        return web.json_response(document, status=status)

    return answer


def echoed(uid: str) -> Answer:
    """Return an answer that sends the request's document back as created, with this uid."""

    async def answer(request: web.Request) -> web.StreamResponse:
        document = await request.json()
        document["metadata"]["uid"] = uid
        return web.json_response(document, status=201)

    return answer


def events(*lines: Any, then: str = "silence") -> Answer:
    """Return an answer to a watch: these events, one a line.

    Afterwards the watch stays silent (`then="silence"`), is cut off in the middle of a line (`"cut"`), or
    ends (any other value).
    """

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(json.dumps(line).encode() + b"\n")
        if then == "cut":
            await response.write(b'{"type": "ADDED", "obj')
            assert request.transport is not None
            request.transport.abort()
        elif then == "silence":
            await asyncio.Event().wait()
        return response

    return answer
