"""Answers requests that are not valid HTTP with problem details, like all other errors.

aiohttp's parser refuses such input before a request object exists, so this code is part of the connection
class. After the answer, the connection reads and discards further input for a short time. Closing a
connection with unread data would reset it, and the client would lose the answer.
"""

import asyncio
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from services.gateway.http.connections import ConnectionLimits, Connections, TimedConnection
from services.gateway.http.problems import Problem, unauthorized
from shared.seldom import Seldom

_not_read = Seldom("request_not_read")

LINGER_SECONDS = 2.0
LINGER_BYTES = 8 << 20


class Runner(web.AppRunner):
    """A runner that serves an application with the connection class of this module."""

    def __init__(self, app: web.Application, *, limits: ConnectionLimits, **options: Any) -> None:
        super().__init__(app, **options)
        self.connections = Connections(limits)
        self._not_accepted = Seldom("connection_not_accepted")

    async def _make_server(self) -> web.Server:
        server = await super()._make_server()
        options = server._kwargs  # noqa: SLF001 - aiohttp has no public way to choose its connections' class
        asyncio.get_running_loop().set_exception_handler(self._on_loop_error)
        made = _Server(server.request_handler, request_factory=server.request_factory, **options)
        made.limited = self.connections
        self._made = made
        return made

    def make_handler(self, received: bytes) -> asyncio.Protocol:
        """Create the request handler of a connection that has already received these bytes.

        Must not be called before `setup()`.
        """
        handler = self._made()
        handler.received_before = received
        return handler

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Log failures of `accept()` at a limited rate, and pass other errors to the default handler.

        The default handler would write a traceback for each connection that cannot be accepted, up to a
        thousand at once.
        """
        if str(context.get("message", "")).startswith("socket.accept()"):
            self._not_accepted.log(why=str(context.get("exception")))
        else:
            loop.default_exception_handler(context)


class _Server(web.Server):
    limited: Connections

    def __call__(self) -> "_Connection":
        return _Connection(self, loop=self._loop, connections=self.limited, **self._kwargs)


class _Connection(TimedConnection):
    _is_refusing = False
    _thrown_away_bytes = 0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._gone = asyncio.Event()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        _message: str | None = None,
    ) -> web.StreamResponse:
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        problem = _problem(status, exc)
        _not_read.log(status=problem.status, code=problem.code, why=type(exc).__name__)
        self._is_refusing = True
        response = problem.response()
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        answered = await super().finish_response(request, resp, start_time)
        if self._is_refusing and self.transport is not None:
            await self._linger(self.transport)
        return answered

    async def _linger(self, transport: asyncio.Transport) -> None:
        """Wait until the client has closed the connection, at most `LINGER_SECONDS`."""
        if transport.can_write_eof() and not transport.is_closing():
            transport.write_eof()
        try:
            async with asyncio.timeout(LINGER_SECONDS):
                await self._gone.wait()
        except TimeoutError:
            return

    def data_received(self, data: bytes) -> None:
        if not self._is_refusing:
            super().data_received(data)
            return
        self._thrown_away_bytes += len(data)
        if self._thrown_away_bytes > LINGER_BYTES and self.transport is not None:
            self.transport.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._gone.set()
        super().connection_lost(exc)


def _problem(status: int, error: BaseException | None) -> Problem:
    if isinstance(error, LineTooLong):
        begins = bytes(error.args[0])
        if begins[:7].lower() == b"bearer ":
            return unauthorized()
        if begins.startswith(b"/"):
            return Problem(414, "address_too_long", "The address of this request is too long.")
        return Problem(431, "header_too_long", "A header of this request is too long.")
    if status == 400:
        return Problem(400, "malformed_request", "This is not HTTP as it is understood here.")
    return Problem(status, "internal", "This is a bug in Towpath. It has been logged.")
