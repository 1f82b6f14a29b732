"""An image registry without images, which answers in each of the ways in which a pull can fail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

_ERRORS = {
    "missing": (404, "MANIFEST_UNKNOWN", "manifest unknown"),
    "private": (401, "UNAUTHORIZED", "authentication required"),
    "broken": (503, "UNAVAILABLE", "the registry is being repaired"),
}


class Registry:
    """The registry.

    Container runtimes use plain HTTP for a registry on loopback, so the node must be this machine.
    """

    def __init__(self) -> None:
        self.address = ""

    def image(self, kind: str) -> str:
        """Return the name of an image that can't be pulled.

        `kind` is the reason: `missing`, `private`, `broken`, or `slow`.
        """
        return f"{self.address}/{kind}:1"


@asynccontextmanager
async def registry() -> AsyncIterator[Registry]:
    served = Registry()
    app = web.Application()
    app.router.add_get("/v2/", _welcome)
    app.router.add_get("/v2/{kind}/{rest:.*}", _answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    served.address = f"127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield served
    finally:
        await runner.cleanup()


async def _welcome(request: web.Request) -> web.Response:
    del request
    return web.json_response({})


async def _answer(request: web.Request) -> web.Response:
    kind = request.match_info["kind"]
    if kind == "slow":
        await asyncio.sleep(600)
    status, code, message = _ERRORS[kind]
    headers = {"WWW-Authenticate": 'Basic realm="registry"'} if status == 401 else {}
    return web.json_response({"errors": [{"code": code, "message": message}]}, status=status, headers=headers)
