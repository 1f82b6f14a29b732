"""An HTTP server on this machine for pods: oracles, gates and git repositories."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web


class HttpOracle:
    """Lines that pods sent. Their images need curl."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.lines: list[str] = []

    def append(self, text: str) -> str:
        return f'curl -fsS --max-time 20 --data-raw "{text}" {self._url}'

    def spoke(self) -> str:
        return f"curl -fs --max-time 20 -o /dev/null {self._url}"


class HttpGate:
    def __init__(self, url: str) -> None:
        self._url = url
        self.is_open = False

    def closed(self) -> str:
        return f"! curl -fs --max-time 20 -o /dev/null {self._url}"

    def open(self) -> None:
        self.is_open = True


class Witness:
    """The server on an address of this machine. `url` is set once it serves."""

    def __init__(self) -> None:
        self.url = ""
        self._oracles: dict[str, HttpOracle] = {}
        self._gates: dict[str, HttpGate] = {}

    def oracle(self) -> HttpOracle:
        name = secrets.token_hex(4)
        self._oracles[name] = HttpOracle(f"{self.url}/oracles/{name}")
        return self._oracles[name]

    def gate(self) -> HttpGate:
        name = secrets.token_hex(4)
        self._gates[name] = HttpGate(f"{self.url}/gates/{name}")
        return self._gates[name]

    def clone_url(self, folder: Path) -> str:
        """Return the URL of a repository on disk."""
        return f"{self.url}/git{folder}/.git"

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/oracles/{name}", self._append)
        app.router.add_get("/oracles/{name}", self._spoke)
        app.router.add_get("/gates/{name}", self._opened)
        app.router.add_route(
            "*", "/git{path:/.*}", lambda request: git_backend(request, Path("/"), request.match_info["path"])
        )
        return app

    async def _append(self, request: web.Request) -> web.Response:
        self._oracles[request.match_info["name"]].lines.append(await request.text())
        return web.Response()

    async def _spoke(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self._oracles[request.match_info["name"]].lines else 404)

    async def _opened(self, request: web.Request) -> web.Response:
        return web.Response(status=200 if self._gates[request.match_info["name"]].is_open else 404)


@asynccontextmanager
async def serving(host: str) -> AsyncIterator[Witness]:
    witness = Witness()
    runner = web.AppRunner(witness.application(), auto_decompress=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 0).start()
    witness.url = f"http://{host}:{runner.addresses[0][1]}"
    try:
        yield witness
    finally:
        await runner.cleanup()


async def git_backend(request: web.Request, root: Path, path: str) -> web.Response:
    """Return the answer of `git http-backend` for this path below the root, without authentication."""
    environment = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "safe.directory",
        "GIT_CONFIG_VALUE_0": "*",
        "PATH_INFO": path,
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
    }
    pipe = asyncio.subprocess.PIPE
    backend = await asyncio.create_subprocess_exec(
        "git", "http-backend", stdin=pipe, stdout=pipe, env=environment
    )
    said, _ = await backend.communicate(await request.read())
    head, _, body = said.partition(b"\r\n\r\n")
    headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
    return web.Response(status=int(headers.pop("Status", "200").split()[0]), body=body, headers=headers)
