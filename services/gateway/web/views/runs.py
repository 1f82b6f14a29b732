"""The list of runs."""

from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from services.gateway.http.problems import Problem
from services.gateway.web.asking import ask
from services.gateway.web.pages import Page, Visit
from shared.statuses import Status

FILTERS = (
    "status",
    "pipeline_config_id",
    "repository",
    "branch",
    "event",
    "sha",
    "created_after",
    "created_before",
)
LIMIT = "50"


async def listed(visit: Visit) -> web.Response:
    given = {name: visit.query[name].strip() for name in FILTERS if visit.query.get(name, "").strip()}
    query = {name: _instant(value) if name.startswith("created_") else value for name, value in given.items()}
    fault = None
    cursor = visit.query.get("cursor")
    found: Any = {"items": [], "next_cursor": None}
    try:
        more = {"limit": LIMIT} | ({"cursor": cursor} if cursor else {})
        found = (await ask(visit, "GET /runs", query=query | more)).json
    except Problem as problem:
        if problem.status not in {400, 422}:
            raise
        fault = problem
    following = None
    if found["next_cursor"]:
        following = "/ui/runs?" + urlencode(given | {"cursor": found["next_cursor"]})
    return visit.page(
        "runs.html",
        200 if fault is None else fault.status,
        runs=found["items"],
        filters={name: given.get(name, "") for name in FILTERS},
        statuses=[status.value for status in Status],
        following=following,
        newest="/ui/runs" + (f"?{urlencode(given)}" if given else "") if cursor else None,
        fault=fault,
    )


def _instant(text: str) -> str:
    """Return a date as the beginning of this day in UTC. Other text stays as it is."""
    return f"{text}T00:00:00Z" if len(text) == len("2026-01-31") else text


PAGES = (Page(path="/ui/runs", handler=listed),)
