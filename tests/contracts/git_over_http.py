"""A git server over HTTP that requires a password, as forges do: `git http-backend` behind aiohttp."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.harness.witness import git_backend

TOKEN = "t0ps3cret"


@dataclass
class GitServer:
    """The server of a repository, or of all below a folder. It accepts only TOKEN as the password."""

    repository: Path
    url: str = ""
    refused: int = 0
    headers: list[str | None] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        sent = request.headers.get("Authorization")
        self.headers.append(sent)
        if sent is None or base64.b64decode(sent.removeprefix("Basic ")).decode().partition(":")[2] != TOKEN:
            self.refused += 1
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if request.path.startswith("/moved/"):
            raise web.HTTPMovedPermanently(str(request.rel_url).replace("/moved/", "/"))
        return await git_backend(request, self.repository, request.path)


@asynccontextmanager
async def git_server(repository: Path, host: str = "127.0.0.1") -> AsyncIterator[GitServer]:
    server = GitServer(repository)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    server.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
