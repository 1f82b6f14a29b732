"""The client of the HTTP API: JSON requests and answers, joined pages, and errors with a fix.

It follows no redirect, because the token would be sent along. It uses no proxy for addresses of this machine.
"""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

from .errors import NotAllowed, Refused, Unreachable
from .settings import Settings

TIMEOUT_SECONDS = 30.0
PAGE = 200
LOOPBACK = {"127.0.0.1", "localhost", "::1"}

Json = dict[str, Any]


class _NoRedirects(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class Client:
    """One API, used with one token."""

    def __init__(self, settings: Settings) -> None:
        self.url = settings.url
        self._token = settings.token
        is_here = urlsplit(settings.url).hostname in LOOPBACK
        self._opener: OpenerDirector = build_opener(_NoRedirects(), *([ProxyHandler({})] if is_here else []))

    def get(self, path: str, **query: object) -> Json:
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Json | None = None) -> Json:
        return self.request("POST", path, {} if body is None else body)

    def put(self, path: str, body: Json) -> Json:
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Json) -> Json:
        return self.request("PATCH", path, body)

    def delete(self, path: str) -> None:
        self.request("DELETE", path)

    def items(self, path: str, limit: int, **query: object) -> Json:
        """Return the first `limit` items of a list as one page."""
        items: list[Any] = []
        cursor: str | None = None
        while len(items) < limit:
            page = self.get(path, limit=min(PAGE, limit - len(items)), cursor=cursor, **query)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        return {"items": items, "next_cursor": cursor}

    def request(
        self, method: str, path: str, body: Json | None = None, *, query: Mapping[str, object] | None = None
    ) -> Json:
        """Return the JSON of the answer, or an empty dict if it has none. Raises CommandError."""
        return self.exchange(method, path, body, query=query)[1]

    def exchange(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Json]:
        """Return the status of the answer and its JSON. Raises CommandError."""
        with self.open(method, path, body, query=query, headers=headers) as response:
            status, raw = response.status, response.read()
        try:
            answer = json.loads(raw) if raw else {}
        except ValueError as error:
            raise _no_towpath(self.url) from error
        if not isinstance(answer, dict):
            raise _no_towpath(self.url)
        return status, answer

    @contextmanager
    def open(
        self,
        method: str,
        path: str,
        body: Json | None = None,
        *,
        query: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield an answer with a successful status, which can be read inside the block.

        Raises CommandError, also if the connection breaks while the answer is read.
        """
        chosen = {name: value for name, value in (query or {}).items() if value is not None}
        address = self.url + path + (f"?{urlencode(chosen)}" if chosen else "")
        sent = {"Authorization": f"Bearer {self._token}", **(headers or {})}
        request = Request(address, method=method, headers=sent)  # noqa: S310 - settings allow http and https
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            with self._opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                yield response
        except HTTPError as error:
            raise refusal(error.code, error.read(), f"{method} {path}") from error
        except (URLError, http.client.HTTPException, OSError) as error:
            raise _away(self.url, error) from error


def segment(value: object) -> str:
    """Return the value quoted as one segment of a path."""
    return quote(str(value), safe="")


def refusal(status: int, raw: bytes, request: str) -> NotAllowed | Refused:
    """Return the error for an answer with a status of 400 or more."""
    try:
        document = json.loads(raw)
    except ValueError:
        document = {}
    problem = document if isinstance(document, dict) else {}
    detail = str(problem.get("detail") or "")
    if status == 401:
        return NotAllowed(
            detail or "the API does not know this token",
            "check TOWPATH_TOKEN; `. .towpath/env` sets that of `make up`",
        )
    if status == 403:
        return NotAllowed(
            f"{request}: {detail or 'not allowed'}",
            "use a token with the scope it needs: towpath tokens create NAME --scope …",
        )
    return Refused(status, problem, request)


def _away(url: str, error: Exception) -> Unreachable:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return Unreachable(
        f"{url} does not answer: {reason}",
        "is it running? `make status` tells; TOWPATH_URL says where it is looked for",
    )


def _no_towpath(url: str) -> Unreachable:
    return Unreachable(
        f"what answers at {url} is not Towpath", "check TOWPATH_URL: it is the gateway's address"
    )
