"""A small client of the HTTP API with one token, for the demo."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp

from devstack.errors import DevstackError

ANSWER_SECONDS = 30
SILENCE_SECONDS = 60
"""The server sends a comment on the stream at least every 15 s."""


class Api:
    """Sends requests with a token. `session` belongs to the caller and stays open."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self.url = url
        self._session = session
        self._headers = {"Authorization": f"Bearer {token}"}

    async def call(self, method: str, path: str, body: object = None) -> Any:
        """Return the decoded answer. Raises DevstackError with the API's message if the status is not 2xx."""
        status, text = await self._request(
            method, path, self._headers, None if body is None else json.dumps(body).encode()
        )
        if not 200 <= status < 300:
            raise DevstackError(f"{method} {path} answered {status}: {text.strip()}")
        return json.loads(text) if text else None

    async def exists(self, path: str) -> bool:
        status, _ = await self._request("GET", path, self._headers, None)
        return status == 200

    async def deliver_github_push(self, payload: object, secret: str) -> str:
        """Send a webhook as GitHub does, signed over the raw bytes. Return its delivery id."""
        body, delivery_id = json.dumps(payload).encode(), str(uuid4())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/demo",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery_id,
            "X-GitHub-Hook-Installation-Target-Type": "repository",
            "X-Hub-Signature-256": "sha256=" + hmac.digest(secret.encode(), body, hashlib.sha256).hex(),
        }
        status, text = await self._request("POST", "/webhooks/github", headers, body)
        if status != 202:
            raise DevstackError(f"the webhook was answered {status}: {text.strip()}")
        return delivery_id

    async def events(self, path: str) -> AsyncIterator[tuple[str, Any]]:
        """Yield (kind, decoded data) of each server-sent event until the server ends the stream."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS)
        async with self._session.get(self.url + path, headers=self._headers, timeout=timeout) as response:
            if response.status != 200:
                raise DevstackError(f"GET {path} answered {response.status}: {await response.text()}")
            kind, data = "message", list[str]()
            async for raw in response.content:
                name, _, value = raw.decode(errors="replace").rstrip("\r\n").partition(":")
                if name == "event":
                    kind = value.strip()
                elif name == "data":
                    data.append(value.removeprefix(" "))
                elif not name and not value and data:
                    yield kind, json.loads("\n".join(data))
                    kind, data = "message", []

    async def _request(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None
    ) -> tuple[int, str]:
        sent = headers | ({"Content-Type": "application/json"} if body is not None else {})
        timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
        async with self._session.request(
            method, self.url + path, data=body, headers=sent, timeout=timeout
        ) as response:
            return response.status, await response.text()
