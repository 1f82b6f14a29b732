"""A fake API on a free port of this machine. It gives prepared answers and records the requests."""

import json
import threading
from collections import defaultdict, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Told:
    """An answer. With `breaks_off` it announces more bytes than it sends."""

    status: int = 200
    body: Any = None
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    breaks_off: bool = False

    @property
    def raw(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return b"" if self.body is None else json.dumps(self.body).encode()


class FakeApi:
    """The fake API. The answers to the same request are given in order; the last one is repeated."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answers: dict[tuple[str, str], deque[Told]] = defaultdict(deque)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def answer(self, method: str, path: str, *told: Told) -> None:
        self.answers[(method, path)].extend(told)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def told(self, asked: Asked) -> Told:
        self.asked.append(asked)
        waiting = self.answers[(asked.method, asked.path)]
        if not waiting:
            return Told(
                404, problem(404, "not_found", "There is nothing here for you."), "application/problem+json"
            )
        return waiting.popleft() if len(waiting) > 1 else waiting[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                raw = self.rfile.read(length)
                address = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                told = api.told(
                    Asked(
                        self.command,
                        address.path,
                        dict(parse_qsl(address.query)),
                        headers,
                        json.loads(raw) if raw else None,
                    )
                )
                self.send_response(told.status)
                self.send_header("Content-Type", told.content_type)
                self.send_header("Content-Length", str(len(told.raw) + (1000 if told.breaks_off else 0)))
                for name, value in told.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(told.raw)

            do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _serve  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                return

        return Handler


def problem(
    status: int, code: str, detail: str, errors: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {
        "type": f"urn:towpath:problem:{code}",
        "title": "Title",
        "status": status,
        "detail": detail,
        "errors": errors or [],
    }


def sse(event_id: str, kind: str, data: object) -> bytes:
    return f"id: {event_id}\nevent: {kind}\ndata: {json.dumps(data)}\n\n".encode()
