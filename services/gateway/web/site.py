"""All pages of the dashboard, and where a browser that opens an address of the API is sent."""

from collections.abc import Sequence

from aiohttp import web

from services.gateway.gateway import Gateway
from services.gateway.http.endpoint import Handle
from services.gateway.web.pages import Page, page_endpoint, see_other
from services.gateway.web.views import events, log, pipeline, pipelines, run, runs, sign_in
from services.gateway.web.views.assets import asset

_SUBJECTS = (sign_in, pipelines, pipeline, runs, run, log, events)

PAGES: tuple[Page, ...] = tuple(page for subject in _SUBJECTS for page in subject.PAGES)

ASKED_BY_BROWSERS = {
    "/runs": "/ui/runs",
    "/runs/{id}": "/ui/runs/{id}",
    "/pipelines": "/ui/",
    "/pipelines/{id}": "/ui/pipelines/{id}",
    "/events/{id}": "/ui/events/{id}",
}
"""The page of each address of the API that people open."""


def add_pages(app: web.Application, gateway: Gateway) -> None:
    """Add all pages to the application."""
    by_path: dict[str, list[Page]] = {}
    for page in PAGES:
        by_path.setdefault(page.path, []).append(page)
    for path, pages in by_path.items():
        _add(app, path, pages, gateway)
    app.router.add_resource("/ui/assets/{name}").add_route("GET", asset)
    for path in ("/", "/ui"):
        app.router.add_resource(path).add_route("GET", _to_dashboard)
    unknown = page_endpoint(Page(path="/ui/…", handler=sign_in.unknown), gateway)
    app.router.add_route("*", "/ui/{anything:.*}", unknown)


def _add(app: web.Application, path: str, pages: Sequence[Page], gateway: Gateway) -> None:
    resource = app.router.add_resource(path)
    for page in pages:
        resource.add_route(page.method, page_endpoint(page, gateway))


async def _to_dashboard(_request: web.Request) -> web.StreamResponse:
    return see_other("/ui/")


def for_browsers(path: str, handle: Handle) -> Handle:
    """Return the handler of an address of the API, which sends browsers to its page."""
    page = ASKED_BY_BROWSERS.get(path)
    if page is None:
        return handle

    async def choose(request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers or not _prefers_html(request.headers.get("Accept", "")):
            return await handle(request)
        query = f"?{request.query_string}" if request.query_string else ""
        return see_other(page.format(**request.match_info) + query)

    return choose


def _prefers_html(accept: str) -> bool:
    """Return True for the Accept header of a browser that opens an address."""
    kinds = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    return "text/html" in kinds and "application/json" not in kinds[: kinds.index("text/html")]
