"""The page of a run: status and reason first, then its jobs as graph and waterfall, live.

The page opens one stream of server-sent events. An event has the new HTML of each section that has changed.
The stream ends when the run and its logs are complete.
"""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
from aiohttp import web

from services.gateway.api.runs import RETRYABLE
from services.gateway.http.problems import Problem, not_found
from services.gateway.web.asking import ask
from services.gateway.web.graph import layout
from services.gateway.web.pages import SAFE, Page, Visit, see_other, session_of
from services.gateway.web.rendering import render
from services.gateway.web.sentences import run_sentence
from services.gateway.web.timeline import bar_of, scale_of
from shared.errors import Transient
from shared.statuses import TERMINAL

SECTIONS = ("run-head", "run-graph", "run-jobs", "run-changes")
CHECK_SECONDS = 1.0
"""The jobs of a run change without a message to the gateway, so an active run is read often."""
GATHER_SECONDS = 0.1
"""The least time between two events, in which several changes are gathered."""
STREAM_HEADERS = {
    "Content-Type": "text/event-stream",
    "X-Accel-Buffering": "no",
} | SAFE


async def show(visit: Visit) -> web.Response:
    run, event = await _read(visit, visit.id)
    sections = _sections(visit, run, event)
    return visit.page("run.html", run=run, sections=sections, is_live=not _is_complete(run))


async def _read(visit: Visit, run_id: int) -> tuple[Any, Any]:
    """Return the run, and its event if the user may see it."""
    run = (await ask(visit, "GET /runs/{id}", id=run_id)).json
    try:
        event = (await ask(visit, "GET /events/{id}", id=run["event_id"])).json
    except Problem as problem:
        if problem.status != 404:
            raise
        event = None
    return run, event


def _is_complete(run: Any) -> bool:
    return run["status"] in TERMINAL and run["log_complete"]


def _sections(visit: Visit, run: Any, event: Any) -> dict[str, str]:
    """Return the HTML of each section by its id."""
    scale = scale_of(run, datetime.now(UTC))
    rows = []
    for job in run["jobs"]:
        last = job["attempts"][-1] if job["attempts"] else None
        rows.append((job, bar_of(job, last, scale), _earlier(job, scale)))
    values = {
        **visit.context(),
        "run": run,
        "event": event,
        "sentence": run_sentence(run),
        "graph": layout(run["jobs"]),
        "rows": rows,
        "names": {job["id"]: job["name"] for job in run["jobs"]},
        "may_cancel": run["status"] not in TERMINAL,
        "may_retry": run["status"] in RETRYABLE,
        "unfinished": sum(job["status"] not in TERMINAL for job in run["jobs"]),
        "unsuccessful": sum(job["status"] not in {"success", "pending", "running"} for job in run["jobs"]),
    }
    return {name: render(f"{name}.html", **values) for name in SECTIONS}


def _earlier(job: Any, scale: Any) -> list[Any]:
    return [(attempt, bar_of(job, attempt, scale)) for attempt in job["attempts"][:-1]]


async def live(visit: Visit) -> web.StreamResponse:
    run, event = await _read(visit, visit.id)
    response = web.StreamResponse(headers=STREAM_HEADERS)
    watch = visit.gateway.live.watch(visit.id)
    try:
        with visit.gateway.streams.opened(visit.caller.user_id), suppress(ConnectionError):
            await response.prepare(visit.request)
            await response.write(b"retry: 1000\n\n")
            await _follow(visit, watch, response, run, event)
            await response.write_eof()
    finally:
        visit.gateway.live.unwatch(watch)
    return response


async def _follow(visit: Visit, watch: Any, response: web.StreamResponse, run: Any, event: Any) -> None:
    """Send what changes until the run is complete, or the session or the access to the run has ended."""
    sent: dict[str, str] = {}
    while not visit.gateway.live.is_closing:
        version = watch.version
        sections = _sections(visit, run, event)
        changed = {name: text for name, text in sections.items() if sent.get(name) != text}
        sent = sections
        if changed:
            await send(response, "sections", {"sections": changed, "status": run["status"]})
        else:
            await response.write(b": still here\n\n")
        if _is_complete(run):
            await send(response, "end", {"status": run["status"]})
            return
        await asyncio.sleep(GATHER_SECONDS)
        await watch.heard_since(version, CHECK_SECONDS)
        with suppress(Transient):
            if await session_of(visit.gateway, visit.request) is None:
                raise not_found()
            run, event = await _read(visit, visit.id)


async def send(response: web.StreamResponse, kind: str, data: Any) -> None:
    """Send an event to a page."""
    async with asyncio.timeout(60):
        await response.write(b"event: %b\ndata: %b\n\n" % (kind.encode(), orjson.dumps(data)))


async def cancel(visit: Visit) -> web.Response:
    await ask(visit, "POST /runs/{id}/cancel", body={}, id=visit.id)
    return see_other(f"/ui/runs/{visit.id}")


async def approve(visit: Visit) -> web.Response:
    await ask(visit, "POST /runs/{id}/approve", body={}, id=visit.id)
    return see_other(f"/ui/runs/{visit.id}")


async def retry(visit: Visit) -> web.Response:
    only = "failed" if visit.form.get("only") == "failed" else "all"
    answer = await ask(visit, "POST /runs/{id}/retry", body={"only": only}, id=visit.id)
    made = visit.id if answer.status == 202 else answer.json["id"]
    return see_other(f"/ui/runs/{made}")


PAGES = (
    Page(path="/ui/runs/{id}", handler=show),
    Page(path="/ui/runs/{id}/live", handler=live, is_data=True),
    Page(path="/ui/runs/{id}/cancel", handler=cancel, method="POST"),
    Page(path="/ui/runs/{id}/approve", handler=approve, method="POST"),
    Page(path="/ui/runs/{id}/retry", handler=retry, method="POST"),
)
