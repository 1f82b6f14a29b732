"""The log of a job: its steps as folds, lines by range, and news while it grows.

Without scripts the page shows one part of the log and links to the others. With scripts it loads only the
lines that are on the screen.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson
from aiohttp import web

from services.gateway.api import logs
from services.gateway.http.fields import id_in_path
from services.gateway.http.problems import not_found
from services.gateway.http.routing import Call, NoBody
from services.gateway.web.asking import ask
from services.gateway.web.log_index import LogIndex
from services.gateway.web.log_rows import Row, StepLines, as_json, rows_of
from services.gateway.web.pages import SAFE, Page, Visit, session_of
from services.gateway.web.rendering import job_path, render, seconds_between
from services.gateway.web.sentences import job_sentence
from services.gateway.web.views.run import CHECK_SECONDS, GATHER_SECONDS, STREAM_HEADERS, send
from shared import step_markers
from shared.errors import Transient
from shared.statuses import TERMINAL

LINES = 500
"""Lines of a page without scripts, and of one request of the script."""

_indexes = LogIndex()


class JobLog(NamedTuple):
    """A job with the log of one container of one attempt. `stream` is None until it has a log."""

    run: Any
    job: Any
    attempt: Any
    container: str
    stream: Any
    gaps: frozenset[int]

    @property
    def nonce(self) -> str:
        return step_markers.nonce(self.stream["creation_token"])

    @property
    def next_line(self) -> int:
        return 1 if self.stream is None else int(self.stream["next_line"])

    @property
    def is_over(self) -> bool:
        """True if no more lines follow and the job has the status that this attempt gave it.

        An attempt ends a moment before its job does. Another attempt may follow.
        """
        sealed = self.stream is None or self.stream["is_sealed"]
        ended = self.attempt is None or self.attempt["status"] == "finished"
        is_last = self.attempt is None or self.attempt["number"] == self.job["attempts"][-1]["number"]
        return bool(sealed and ended and (not is_last or self.job["status"] in TERMINAL))


async def _read(visit: Visit) -> JobLog:
    """Return the log that the address names. Raises Problem 404."""
    run = (await ask(visit, "GET /runs/{id}", id=visit.id)).json
    job = next((one for one in run["jobs"] if one["key"] == visit.path["key"]), None)
    if job is None:
        raise not_found()
    attempts = job["attempts"]
    wanted = visit.query.get("attempt")
    attempt = attempts[-1] if attempts else None
    if wanted is not None:
        attempt = next((one for one in attempts if str(one["number"]) == wanted), None)
        if attempt is None:
            raise not_found()
    container = visit.query.get("container", "job")
    async with visit.gateway.store.reading() as work:
        streams = await work.log_streams(visit.id)
    number = None if attempt is None else attempt["number"]
    place = (job["key"], number, container)
    stream = next((one for one in streams if (one["job"], one["attempt"], one["container"]) == place), None)
    gaps = frozenset(
        gap["line"] for gap in run["log_gaps"] if (gap["job"], gap["attempt"], gap["container"]) == place
    )
    return JobLog(run, job, attempt, container, stream, gaps)


async def _rows(visit: Visit, log: JobLog, first: int, end: int) -> list[Row]:
    """Return the rows of a range of lines."""
    rows: list[Row] = []
    position = first
    while log.stream is not None and position < min(end, log.next_line):
        chunks = await visit.gateway.live.chunks(log.stream["id"], position)
        if not chunks:
            break
        rows += rows_of(chunks, position, end, log.nonce, log.gaps)
        position = chunks[-1].next_line
    return rows


async def _steps(visit: Visit, log: JobLog) -> list[dict[str, Any]]:
    """Return the steps of the log with their lines, outcomes and times."""
    if log.stream is None:
        return []
    found = await _indexes.steps(visit.gateway.store, log.stream["id"], log.nonce)
    told = log.attempt["steps"] if log.container == "job" else []
    return [_step(log, step, found[number + 1 :], told) for number, step in enumerate(found)]


def _step(log: JobLog, step: StepLines, later: Sequence[StepLines], told: Sequence[Any]) -> dict[str, Any]:
    known = told[step.index - 1] if 0 < step.index <= len(told) else None
    end = step.end_line or (later[0].first_line if later else log.next_line)
    ended = known["outcome"] if known and known["outcome"] else None
    outcome = ended or ("running" if not log.is_over else "cancelled")
    return {
        "index": step.index,
        "name": step.name,
        "first": step.first_line + 1,
        "end": end,
        "outcome": outcome,
        "seconds": seconds_between(known["started_at"], known["finished_at"]) if known and ended else None,
        "exit_code": known["exit_code"] if known else None,
    }


async def show(visit: Visit) -> web.Response:
    log = await _read(visit)
    steps = await _steps(visit, log)
    first = _first_line(visit, log, steps)
    rows = await _rows(visit, log, first, first + LINES)
    number = None if log.attempt is None else log.attempt["number"]
    place = {"attempt": number, "container": log.container if log.container != "job" else None}
    return visit.page(
        "log.html",
        log=log,
        run=log.run,
        job=log.job,
        steps=steps,
        rows=rows,
        first=first,
        last=min(first + LINES, log.next_line) - 1,
        earlier=job_path(visit.id, log.job["key"], **place, line=max(1, first - LINES))
        if first > 1
        else None,
        following=job_path(visit.id, log.job["key"], **place, line=first + LINES)
        if first + LINES < log.next_line
        else None,
        base=f"/ui/runs/{visit.id}/jobs/{job_path(visit.id, log.job['key']).rsplit('/', 1)[1]}",
        place=place,
        facts=_facts(log, steps),
    )


def _at(log: JobLog, place: dict[str, Any], line: int) -> str:
    return job_path(log.run["id"], log.job["key"], **place, line=line)


def _first_line(visit: Visit, log: JobLog, steps: Sequence[dict[str, Any]]) -> int:
    """Return the first line of the page: the one asked for, else the last lines of the failed step."""
    asked = id_in_path(visit.query.get("line", ""))
    if asked is not None:
        return min(asked, max(log.next_line - 1, 1))
    failed = next((step for step in steps if step["outcome"] in {"failed", "timed_out"}), None)
    end = failed["end"] if failed else log.next_line
    return max(failed["first"] if failed and end - failed["first"] <= LINES else 1, end - LINES)


def _facts(log: JobLog, steps: Any) -> dict[str, Any]:
    """Return what the page's script needs to know of the log."""
    head = render("log-status.html", job=log.job, sentence=job_sentence(log.job))
    status = log.job["status"]
    return {"next": log.next_line, "over": log.is_over, "status": status, "head": head, "steps": steps}


async def lines(visit: Visit) -> web.Response:
    """Return the rows of a range as JSON."""
    log = await _read(visit)
    first = id_in_path(visit.query.get("from", "")) or 1
    rows = await _rows(visit, log, first, first + LINES)
    body = orjson.dumps([as_json(row) for row in rows])
    return web.Response(body=body, content_type="application/json", headers=SAFE)


async def live(visit: Visit) -> web.StreamResponse:
    """Send an event with the facts whenever the log has grown or its job has changed."""
    log = await _read(visit)
    response = web.StreamResponse(headers=STREAM_HEADERS)
    watch = visit.gateway.live.watch(visit.id)
    try:
        with visit.gateway.streams.opened(visit.caller.user_id), suppress(ConnectionError):
            await response.prepare(visit.request)
            sent = None
            while not visit.gateway.live.is_closing:
                version = watch.version
                facts = _facts(log, await _steps(visit, log))
                await (
                    send(response, "facts", facts) if facts != sent else response.write(b": still here\n\n")
                )
                sent = facts
                if log.is_over:
                    break
                await asyncio.sleep(GATHER_SECONDS)
                await watch.heard_since(version, CHECK_SECONDS)
                with suppress(Transient):
                    if await session_of(visit.gateway, visit.request) is None:
                        break
                    log = await _read(visit)
            await response.write_eof()
    finally:
        visit.gateway.live.unwatch(watch)
    return response


async def raw(visit: Visit) -> web.StreamResponse:
    """Send the whole log as the API does."""
    log = await _read(visit)
    number = None if log.attempt is None else log.attempt["number"]
    query = logs.LogFilters(job=log.job["key"], attempt=number, container=log.container)
    return await logs.download(
        Call(visit.gateway, visit.request, visit.caller, {"id": visit.id}, NoBody(), query)
    )


_PATH = "/ui/runs/{id}/jobs/{key}"

PAGES = (
    Page(path=_PATH, handler=show),
    Page(path=f"{_PATH}/lines", handler=lines, is_data=True),
    Page(path=f"{_PATH}/live", handler=live, is_data=True),
    Page(path=f"{_PATH}/raw", handler=raw, is_data=True),
)
