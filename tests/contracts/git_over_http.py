"""A git server over HTTP that requires a password, as forges do: `git http-backend` behind aiohttp."""

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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
    objects: dict[str, bytes] = field(default_factory=dict)
    """The files of git LFS by their id."""
    objects_url: str = ""
    """The server that has the files; empty: this one."""

    def pointer(self, content: bytes) -> str:
        """Store a file of git LFS, and return its pointer."""
        oid = hashlib.sha256(content).hexdigest()
        self.objects[oid] = content
        return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        sent = request.headers.get("Authorization")
        self.headers.append(sent)
        if sent is None or base64.b64decode(sent.removeprefix("Basic ")).decode().partition(":")[2] != TOKEN:
            self.refused += 1
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        if request.path.startswith("/moved/"):
            raise web.HTTPMovedPermanently(str(request.rel_url).replace("/moved/", "/"))
        if request.path.endswith("/info/lfs/objects/batch"):
            return self._batch(await request.json())
        if request.path.startswith("/objects/"):
            return web.Response(body=self.objects[request.path.rpartition("/")[2]])
        return await git_backend(request, self.repository, request.path)

    def _batch(self, asked: dict[str, Any]) -> web.Response:
        """Answer where the files are, as git LFS specifies it."""
        server = self.objects_url or self.url
        objects = [
            {**wanted, "actions": {"download": {"href": f"{server}/objects/{wanted['oid']}"}}}
            if wanted["oid"] in self.objects
            else {**wanted, "error": {"code": 404, "message": "Object does not exist"}}
            for wanted in asked["objects"]
        ]
        return web.json_response(
            {"transfer": "basic", "objects": objects}, content_type="application/vnd.git-lfs+json"
        )


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
