"""Turns a page of the dashboard into an aiohttp handler.

1. A GET without a valid session is sent to the sign-in page, which leads back to the page.
2. A POST must come from a page of this origin (`Sec-Fetch-Site` or `Origin`) and carry the session's CSRF
   token. Signing in needs no CSRF token, because there is no session yet.
3. Every problem becomes a page with its status: 404 also for objects that the user may not see.
"""

import hashlib
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote

import structlog
from aiohttp import web
from prometheus_client import Histogram

from services.gateway.gateway import Gateway
from services.gateway.http.endpoint import Handle
from services.gateway.http.fields import id_in_path, is_storable
from services.gateway.http.problems import Problem, forbidden, not_found, unavailable
from services.gateway.people import Caller, Origin, requested_from
from services.gateway.store.sessions import Session
from services.gateway.web.rendering import render
from services.gateway.webhooks.body_memory import Share
from services.gateway.webhooks.intake import BodyLimits, check_single, read_body
from shared.crypto import hash_secret
from shared.errors import Transient

_log = structlog.get_logger()
_seconds = Histogram("towpath_page_seconds", "Answering a request of a browser", ["method", "path"])

COOKIE = "towpath_session"
LOGIN = "/ui/login"
_MOST_FIELDS = 50
POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
SAFE = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""The headers of every page."""


@dataclass(frozen=True)
class Visit:
    """A request of a browser. `session` is None only for pages that need none."""

    gateway: Gateway
    request: web.Request
    session: Session | None
    path: Mapping[str, Any]
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def caller(self) -> Caller:
        if self.session is None:
            raise RuntimeError("this page needs a session")
        return self.session.caller

    @property
    def id(self) -> int:
        """Return the parameter `{id}` of the path."""
        return int(self.path["id"])

    @property
    def query(self) -> Mapping[str, str]:
        return self.request.query

    def page(self, template: str, status: int = 200, **values: Any) -> web.Response:
        """Return a rendered page."""
        return html(render(template, **self.context(), **values), status)

    def context(self) -> dict[str, Any]:
        """Return what every template may use."""
        signed_in = None if self.session is None else self.session.caller
        secret = self.request.cookies.get(COOKIE, "")
        return {"me": signed_in, "csrf": csrf_of(secret), "address": self.request.path_qs}


@dataclass(frozen=True, kw_only=True)
class Page:
    """One method of one path of the dashboard."""

    path: str
    handler: Callable[[Visit], Awaitable[web.StreamResponse]]
    method: str = "GET"
    is_open: bool = False
    """True if no session is needed."""
    is_data: bool = False
    """True for what scripts fetch. Without a session it is 401, because a script cannot sign in."""
    body_bytes: int = 16 << 10


def html(text: str, status: int = 200) -> web.Response:
    return web.Response(
        body=text.encode("utf-8", "replace"),
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers=SAFE,
    )


def see_other(location: str) -> web.Response:
    return web.Response(status=303, headers={"Location": location, **SAFE})


def csrf_of(secret: str) -> str:
    """Return the CSRF token of a session. The session's secret cannot be derived from it."""
    return hashlib.sha256(b"towpath csrf:" + secret.encode()).hexdigest()


def is_own_path(path: str) -> bool:
    """Return True if this is the path of a page of the dashboard, and nothing that leads elsewhere."""
    return path.startswith("/ui/") and path.isprintable() and "\\" not in path and len(path) <= 1000


async def session_of(gateway: Gateway, request: web.Request) -> Session | None:
    """Return the session of the request's cookie. Raises Transient."""
    secret = request.cookies.get(COOKIE, "")
    if not secret or len(secret) > 100:
        return None
    async with gateway.store.reading() as work:
        return await work.session(hash_secret(secret))


def page_endpoint(page: Page, gateway: Gateway) -> Handle:
    """Return the aiohttp handler of a page."""

    async def handle(request: web.Request) -> web.StreamResponse:
        started = time.perf_counter()
        session = None
        try:
            session = await session_of(gateway, request)
            with gateway.memory.share(request.remote or "") as share:
                return await _answer(page, gateway, request, session, share)
        except Problem as problem:
            return _problem_page(page, gateway, request, session, problem)
        except Transient:
            return _problem_page(page, gateway, request, session, unavailable())
        except Exception:  # noqa: BLE001 - a request's outermost edge: its bug is its own
            _log.exception("page_crashed", method=page.method, path=page.path)
            bug = Problem(500, "internal", "This is a bug in Towpath. It has been logged.")
            return _problem_page(page, gateway, request, session, bug)
        finally:
            _seconds.labels(page.method, page.path).observe(time.perf_counter() - started)

    return handle


async def _answer(
    page: Page, gateway: Gateway, request: web.Request, session: Session | None, share: Share
) -> web.StreamResponse:
    check_single(request)
    if page.method == "POST":
        check_origin(request)
    if session is None and not page.is_open:
        if page.is_data:
            raise Problem(401, "signed_out", "The session has ended. Sign in again.")
        return see_other(f"{LOGIN}?next={quote(request.path_qs if page.method == 'GET' else '/ui/')}")
    path = {name: _parameter(name, text) for name, text in request.match_info.items()}
    form = await _form(page, gateway, request, share) if page.method == "POST" else {}
    if page.method == "POST" and session is not None and not page.is_open:
        _check_csrf(request, form)
    token_id = None if session is None else session.caller.token_id
    with requested_from(Origin(token_id, request.remote)):
        return await page.handler(Visit(gateway, request, session, path, form))


def _parameter(name: str, text: str) -> Any:
    if name == "key":
        if not is_storable(text) or len(text) > 500:
            raise not_found()
        return text
    number = id_in_path(text)
    if number is None:
        raise not_found()
    return number


def check_origin(request: web.Request) -> None:
    """Raise Problem 403 if another site's page has sent this form.

    Browsers set both headers, and pages cannot change them. Clients that send neither are no browsers.
    """
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    if site is not None and site != "same-origin":
        raise forbidden("This form was sent by another site.")
    if site is None and origin is not None and origin.partition("://")[2] != request.host:
        raise forbidden("This form was sent by another site.")


def _check_csrf(request: web.Request, form: Mapping[str, str]) -> None:
    wanted = csrf_of(request.cookies.get(COOKIE, ""))
    if not hmac.compare_digest(form.get("csrf", "").encode(), wanted.encode()):
        raise forbidden("This form belongs to an earlier session. Go back, load the page again and repeat.")


async def _form(page: Page, gateway: Gateway, request: web.Request, share: Share) -> Mapping[str, str]:
    if request.content_type != "application/x-www-form-urlencoded":
        raise Problem(415, "content_type", "A form is needed.")
    settings = gateway.settings
    limits = BodyLimits(
        size_bytes=page.body_bytes,
        seconds=settings.body_seconds,
        bytes_per_second=settings.body_bytes_per_second,
    )
    raw = await read_body(request, share, limits)
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict")
    except ValueError as error:
        raise Problem(400, "malformed_form", "The form cannot be read.") from error
    return {name: text.replace("\r\n", "\n") for name, text in pairs}


_TITLES = {
    401: "Signed out",
    403: "Not allowed",
    404: "Not found",
    409: "Not possible now",
    412: "Changed meanwhile",
    422: "Not valid",
    429: "Too much at once",
    503: "Not available",
}


def _problem_page(
    page: Page, gateway: Gateway, request: web.Request, session: Session | None, problem: Problem
) -> web.StreamResponse:
    if page.is_data:
        response = problem.response()
        response.headers.update(SAFE)
        return response
    visit = Visit(gateway, request, session, {})
    title = _TITLES.get(problem.status, "Error")
    response = visit.page("problem.html", problem.status, problem=problem, title=title)
    response.headers.update({name: value for name, value in problem.headers.items() if name == "Retry-After"})
    return response
