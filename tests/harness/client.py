"""A thin client of the HTTP API, for one user with one token (or none)."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import aiohttp

answered: ContextVar[list[tuple[str, str, int]] | None] = ContextVar("answered", default=None)
"""Method, path and status of every answer that the clients received; None if they are not recorded."""


def _note(method: str, path: str, status: int) -> None:
    seen = answered.get()
    if seen is not None:
        seen.append((method, path.partition("?")[0], status))


@dataclass(frozen=True)
class Answer:
    """An HTTP answer with its whole body."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def text(self) -> str:
        return self.raw.decode("utf-8", "replace")

    def expect(self, status: int) -> "Answer":
        """Return this answer. Raises AssertionError with the body if the status is different."""
        assert self.status == status, f"wanted {status}, got {self.status}: {self.text[:2000]}"
        return self


@dataclass(frozen=True)
class ServerSentEvent:
    id: str | None
    kind: str
    data: str


class Client:
    """Sends requests as one user. `url` is the gateway's address."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str | None = None) -> None:
        self.session = session
        self.url = url
        self.token = token

    def as_(self, token: str | None) -> "Client":
        return Client(self.session, self.url, token)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = dict(headers or {})
        if self.token is not None:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=data, headers=sent, allow_redirects=False
        ) as response:
            _note(method, path, response.status)
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                await response.read(),
            )

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.request("GET", path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> Answer:
        return await self.request(
            "POST", path, {} if body is None and "raw" not in options else body, **options
        )

    async def put(self, path: str, body: Any, **options: Any) -> Answer:
        return await self.request("PUT", path, body, **options)

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.request("DELETE", path, **options)

    @asynccontextmanager
    async def events(
        self, path: str, last_event_id: str | None = None
    ) -> AsyncIterator[AsyncIterator[ServerSentEvent]]:
        """Yield the server-sent events of a stream until the stream or the block ends."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "text/event-stream"}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        async with self.session.get(
            self.url + path, headers=headers, timeout=aiohttp.ClientTimeout(total=None, sock_read=60)
        ) as response:
            _note("GET", path, response.status)
            assert response.status == 200, await response.text()
            yield _parse(response.content)


async def _parse(stream: aiohttp.StreamReader) -> AsyncIterator[ServerSentEvent]:
    """Parse events as https://html.spec.whatwg.org/multipage/server-sent-events.html defines them."""
    event_id: str | None = None
    kind, data = "message", list[str]()
    buffer = b""
    while True:
        chunk = await stream.readany()
        if not chunk:
            return
        *lines, buffer = (buffer + chunk).split(b"\n")
        for raw in lines:
            line = raw.rstrip(b"\r").decode("utf-8", "replace")
            if not line:
                if data:
                    yield ServerSentEvent(event_id, kind, "\n".join(data))
                kind, data = "message", []
                continue
            name, _, value = line.partition(":")
            value = value.removeprefix(" ")
            match name:
                case "id":
                    event_id = value
                case "event":
                    kind = value
                case "data":
                    data.append(value)
