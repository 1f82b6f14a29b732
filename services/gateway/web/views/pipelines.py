"""The first page: the pipelines of the user, each with the bars of its last runs."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from aiohttp import web

from services.gateway.web.asking import ask
from services.gateway.web.pages import Page, Visit
from services.gateway.web.rendering import seconds_between
from shared.statuses import TERMINAL, Status

BARS = 30
_LOWEST = 3
_HIGHEST = 36


class Bar(NamedTuple):
    """A run as a bar. Its height stands for its time."""

    id: int
    number: int
    status: str
    height: int
    seconds: float | None


class Overview(NamedTuple):
    """A pipeline with its last runs."""

    pipeline: Mapping[str, Any]
    repositories: Sequence[str]
    bars: Sequence[Bar]
    success_percent: int | None
    """Of the runs that ended by their own result. None if there is none."""
    median_seconds: float | None
    last: Mapping[str, Any] | None


async def home(visit: Visit) -> web.Response:
    cursor = visit.query.get("cursor")
    wanted = visit.query.get("q", "").strip()
    query = {"limit": "200" if wanted else "50"} | ({"cursor": cursor} if cursor else {})
    found = (await ask(visit, "GET /pipelines", query=query)).json
    items = found["items"]
    async with visit.gateway.store.reading() as work:
        ids = [item["id"] for item in items]
        runs = await work.last_runs(ids, BARS)
        repositories = await work.pipeline_repositories(ids)
    shown = [overview(item, repositories.get(item["id"], []), runs.get(item["id"], [])) for item in items]
    if wanted:
        shown = [one for one in shown if _has(one, wanted.lower())]
    return visit.page("home.html", shown=shown, q=wanted, next_cursor=found["next_cursor"], total=len(items))


def _has(one: Overview, text: str) -> bool:
    return any(text in name.lower() for name in (one.pipeline["name"], *one.repositories))


def overview(
    pipeline: Mapping[str, Any], repositories: Sequence[str], runs: Sequence[Mapping[str, Any]]
) -> Overview:
    """Return what the list shows of a pipeline. `runs` are its last runs, the newest first."""
    ended = [run for run in runs if run["status"] in {Status.SUCCESS, Status.FAILED, Status.ERROR}]
    times = [_seconds(run) for run in runs]
    longest = max((seconds for seconds in times if seconds is not None), default=0.0) or 1.0
    bars = [
        Bar(run["id"], run["number"], run["status"], _height(seconds, longest), seconds)
        for run, seconds in zip(runs, times, strict=True)
    ]
    succeeded = [run for run in ended if run["status"] == Status.SUCCESS]
    lengths = [seconds for run in succeeded if (seconds := _seconds(run)) is not None]
    return Overview(
        pipeline,
        repositories,
        bars[::-1],
        round(100 * len(succeeded) / len(ended)) if ended else None,
        median(lengths) if lengths else None,
        runs[0] if runs else None,
    )


def _height(seconds: float | None, longest: float) -> int:
    return _LOWEST if seconds is None else round(_LOWEST + (_HIGHEST - _LOWEST) * min(seconds / longest, 1))


def _seconds(run: Mapping[str, Any]) -> float | None:
    """Return how long a run has run."""
    return seconds_between(run["started_at"], run["finished_at"] if run["status"] in TERMINAL else None)


PAGES = (Page(path="/ui/", handler=home),)
