"""Limits client connections in number and in time.

1. A new connection has to send the complete head of a request within `head_seconds`. Each further request has
   the same time from its first byte. An idle connection is closed after `idle_seconds`.
2. At the limit, a new connection replaces the one that has waited longest for a head. Connections whose
   requests are being answered are kept.
3. If all connections are being answered, the new one is refused with a problem that names the limit.
4. A client that does not read its answer is disconnected after `send_seconds`.
"""

import asyncio
import resource
import socket
import struct
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from aiohttp import web

from services.gateway.http.problems import Problem
from services.gateway.settings import GatewaySettings
from shared.seldom import Seldom

_log = structlog.get_logger()
BACKLOG = 1024
"""Connections that the kernel queues until they are accepted. The same number of descriptors is kept free."""
_OWN_DESCRIPTORS = 256
"""Descriptors reserved for the database, the broker, logs and threads."""
_FEWEST = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimits:
    connections: int
    head_seconds: float
    idle_seconds: float
    send_seconds: float


def connection_limits(settings: GatewaySettings) -> ConnectionLimits:
    return ConnectionLimits(
        connections=_affordable(settings.connections),
        head_seconds=settings.head_seconds,
        idle_seconds=settings.idle_seconds,
        send_seconds=settings.send_seconds,
    )


def _affordable(wanted: int) -> int:
    """Return the wanted number of connections, or fewer if the process may not open enough descriptors.

    Raises the soft limit of descriptors to the hard one. Never returns less than `_FEWEST`, unless less is
    wanted.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    possible = max(_FEWEST, hard - BACKLOG - _OWN_DESCRIPTORS)
    if hard != resource.RLIM_INFINITY and possible < wanted:
        _log.warning(
            "connections_limited",
            connections=possible,
            wanted=wanted,
            why=f"the process may open {hard} descriptors",
        )
        return possible
    return wanted


class Closable(Protocol):
    """An open connection, with or without a request handler."""

    def force_close(self) -> None:
        """Close the connection at once."""


class Connections:
    """All open connections of a gateway, and those that wait for a request, the longest waiting first."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._open: set[Closable] = set()
        self._waiting: dict[Closable, None] = {}
        self._displaced = Seldom("idle_connection_displaced")
        self._refused = Seldom("connection_refused")

    @property
    def count(self) -> int:
        return len(self._open)

    def admit(self, connection: Closable) -> bool:
        """Count a new connection. Return False if there is no room and no waiting connection to close."""
        if len(self._open) >= self.limits.connections:
            oldest = next(iter(self._waiting), None)
            if oldest is None:
                self._refused.log(limit=self.limits.connections)
                return False
            self._displaced.log(limit=self.limits.connections)
            self.forget(oldest)
            oldest.force_close()
        self._open.add(connection)
        self._waiting[connection] = None
        return True

    def begin(self, connection: Closable) -> None:
        """Record that a request has arrived on the connection."""
        self._waiting.pop(connection, None)

    def wait(self, connection: Closable) -> None:
        """Record that the connection's request is answered. It now waits for the next one."""
        if connection in self._open:
            self._waiting.pop(connection, None)
            self._waiting[connection] = None

    def forget(self, connection: Closable) -> None:
        self._open.discard(connection)
        self._waiting.pop(connection, None)


class TimedConnection(web.RequestHandler):
    """A connection with a request handler that enforces the limits."""

    def __init__(self, *args: Any, connections: Connections, **options: Any) -> None:
        super().__init__(*args, keepalive_timeout=connections.limits.idle_seconds, **options)
        self._connections = connections
        self._head_timer: asyncio.TimerHandle | None = None
        self._send_timer: asyncio.TimerHandle | None = None
        self._has_begun = False
        self.received_before = b""
        """Bytes that arrived before this handler was created."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._connections.admit(self):
            self._expect_head()
        else:
            self._answer_and_close(busy(self._connections.limits.connections))
            return
        if self.received_before:
            self._has_begun = True
            self.data_received(self.received_before)
            self.received_before = b""

    def data_received(self, data: bytes) -> None:
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            self._forget_head()
            self._connections.begin(self)
        elif data and self._waiter is not None and not self._waiter.done():  # the data is not part of a body
            self._has_begun = True
            self._expect_head()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        answered = await super().finish_response(request, resp, start_time)
        self._has_begun = False
        if not self._messages:
            self._connections.wait(self)
        return answered

    def pause_writing(self) -> None:
        super().pause_writing()
        self._send_timer = self._loop.call_later(self._connections.limits.send_seconds, self._give_up_sending)

    def resume_writing(self) -> None:
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.forget(self)
        self._forget_head()
        if self._send_timer is not None:
            self._send_timer.cancel()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(
                self._connections.limits.head_seconds, self._give_up_head
            )

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _give_up_head(self) -> None:
        self._head_timer = None
        if self._current_request or self._messages:
            return
        if self._has_begun:
            self._answer_and_close(head_too_slow(self._connections.limits.head_seconds))
        else:
            self.force_close()

    def _give_up_sending(self) -> None:
        self._send_timer = None
        if self.transport is None:
            return
        connected = self.transport.get_extra_info("socket")
        connected.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )  # discard the data that the client did not read
        self.transport.abort()

    def _answer_and_close(self, problem: Problem) -> None:
        """Send a problem and close the connection. No request object exists at this point."""
        if self.transport is not None:
            self.transport.write(problem.raw())
        self.force_close()


def head_too_slow(seconds: float) -> Problem:
    return Problem(408, "head_too_slow", f"A request's head has to arrive within {seconds:g} seconds.")


def busy(limit: int) -> Problem:
    detail = f"This gateway serves {limit} connections at once (TOWPATH_CONNECTIONS). Try again."
    return Problem(503, "too_many_connections", detail, headers={"Retry-After": "2"})
