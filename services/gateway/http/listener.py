"""Accepts connections and keeps them cheap until the head of their first request has arrived.

1. A new connection is accepted and counted in `connections`. Its bytes are buffered here. It has no request
   handler yet.
2. When the head of its first request is complete, the connection gets a request handler, which receives the
   buffered bytes first.

Failures:
- The head does not arrive within `head_seconds`: the connection is answered with 408, or closed if it sent
  nothing.
- The limit of connections is reached: a new connection replaces the one that has waited longest for its head.
- The process may open no more descriptors: the listener pauses for one second.

A limited number of connections is accepted in one turn of the event loop, so a flood of connections does not
delay requests that are being answered.
"""

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from aiohttp import web

from services.gateway.http.connections import BACKLOG, Connections, busy, head_too_slow
from services.gateway.http.problems import Problem
from services.gateway.http.unparsed import Runner

AT_ONCE = 64
"""Maximum number of connections accepted in one turn of the event loop, in a few milliseconds."""
_READ_BYTES = 64 << 10
_LONGEST_BYTES = 8 << 10
"""A longer incomplete head goes to the request handler, which refuses it with a specific problem."""
_PAUSE_SECONDS = 1.0
"""The pause before accepting again after the process could open no more descriptors."""
_SCARCE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class PendingConnection:
    """A connection whose first request has not arrived yet."""

    __slots__ = ("_listener", "ends_at", "received", "sock")

    def __init__(self, listener: "ConnectionListener", sock: socket.socket, ends_at: float) -> None:
        self._listener = listener
        self.sock = sock
        self.received = b""
        self.ends_at = ends_at
        """The deadline for the complete head, in seconds of the event loop's clock."""

    @property
    def is_known(self) -> bool:
        """True if the request handler can process or refuse the request.

        That is the case if the head is complete, is too long, or does not start like an HTTP method.
        """
        text = self.received
        return (
            b"\r\n\r\n" in text or b"\n\n" in text or len(text) > _LONGEST_BYTES or not _may_be_a_method(text)
        )

    def force_close(self) -> None:
        self._listener.close_one(self)


def _may_be_a_method(text: bytes) -> bool:
    """Return False if the text cannot start with an HTTP method. Empty lines before it are allowed."""
    first = text.lstrip(b"\r\n")[:1]
    return not first or first.isupper()


class ConnectionListener:
    """A server that listens on sockets until it is closed."""

    def __init__(
        self,
        listeners: Sequence[socket.socket],
        make_handler: Callable[[bytes], asyncio.Protocol],
        connections: Connections,
    ) -> None:
        """Start listening. `make_handler` is called with the bytes that arrived before the handler."""
        self.sockets = tuple(listeners)
        self._make_handler = make_handler
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._pending: dict[PendingConnection, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._entering: set[asyncio.Task[None]] = set()
        for listener in listeners:
            listener.listen(BACKLOG)
            self._listen(listener)

    def close(self) -> None:
        for listener in self.sockets:
            self._loop.remove_reader(listener)
            listener.close()
        for pending in list(self._pending):
            self.close_one(pending)
        if self._timer is not None:
            self._timer.cancel()

    def close_one(self, pending: PendingConnection, problem: Problem | None = None) -> None:
        """Close a connection, after sending the problem if there is one.

        The problem is sent without waiting. It is lost if the socket does not take it at once.
        """
        self._leave(pending)
        if problem is not None:
            with suppress(OSError):
                pending.sock.send(problem.raw())
        pending.sock.close()

    def _listen(self, listener: socket.socket) -> None:
        if listener.fileno() >= 0:
            self._loop.add_reader(listener, self._accept, listener)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                message = "socket.accept() out of system resource"
                self._loop.call_exception_handler({"message": message, "exception": error})
                self._loop.remove_reader(listener)
                self._loop.call_later(_PAUSE_SECONDS, self._listen, listener)
                return
            self._welcome(sock)

    def _welcome(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        pending = PendingConnection(self, sock, self._loop.time() + self._connections.limits.head_seconds)
        if not self._connections.admit(pending):
            self.close_one(pending, busy(self._connections.limits.connections))
            return
        self._pending[pending] = None
        self._read(pending)  # for most genuine clients the whole head has arrived already
        if pending in self._pending:
            self._loop.add_reader(sock, self._read, pending)
            if self._timer is None:
                self._timer = self._loop.call_at(pending.ends_at, self._end_late_ones)

    def _read(self, pending: PendingConnection) -> None:
        try:
            data = pending.sock.recv(_READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self.close_one(pending)
            return
        pending.received += data
        if pending.is_known:
            self._leave(pending)
            entering = self._loop.create_task(self._enter(pending))
            self._entering.add(entering)
            entering.add_done_callback(self._entering.discard)

    async def _enter(self, pending: PendingConnection) -> None:
        handler = partial(self._make_handler, pending.received)
        try:
            await self._loop.connect_accepted_socket(handler, pending.sock)
        except OSError:  # the client has disconnected
            pending.sock.close()

    def _leave(self, pending: PendingConnection) -> None:
        self._connections.forget(pending)
        if pending in self._pending:
            del self._pending[pending]
            self._loop.remove_reader(pending.sock)

    def _end_late_ones(self) -> None:
        """Close connections whose deadline has passed.

        All have the same time limit, so the first one in the dictionary has the earliest deadline.
        """
        self._timer = None
        while pending := next(iter(self._pending), None):
            if pending.ends_at > self._loop.time():
                self._timer = self._loop.call_at(pending.ends_at, self._end_late_ones)
                return
            seconds = self._connections.limits.head_seconds
            self.close_one(pending, head_too_slow(seconds) if pending.received else None)


class ListenerSite(web.BaseSite):
    """A site that serves a gateway's runner at an address, as `web.TCPSite` does."""

    def __init__(self, runner: Runner, host: str, port: int) -> None:
        super().__init__(runner)
        self._gateway = runner
        self._host = host
        self._port = port

    @property
    def name(self) -> str:
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        await super().start()
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(
            self._host or None, self._port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listeners = [_bound(family, address) for family, _, _, _, address in dict.fromkeys(found)]
        gateway = self._gateway
        listener = ConnectionListener(listeners, gateway.make_handler, gateway.connections)
        self._server = listener  # type: ignore[assignment]  # has the methods that aiohttp calls


def _bound(family: int, address: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gives it
    except BaseException:
        listener.close()
        raise
    return listener
