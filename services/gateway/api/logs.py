"""The logs of runs, as text and as a live stream.

Log content is untrusted. It is sent as text/plain with headers that keep browsers from interpreting it as
anything else, or inside JSON.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from typing import Any

from aiohttp import web
from pydantic import Field

from services.gateway.api.log_stream import follow
from services.gateway.http.fields import Filters, QueryId, Text
from services.gateway.http.problems import Problem, not_found, unavailable
from services.gateway.http.routing import LAST_EVENT_ID, Answer, Call, NoBody, NoFilters, Route
from services.gateway.logs.log_lines import read_positions, unpacked
from services.gateway.store import GatewayStore
from shared import step_markers

SEGMENTS_AT_ONCE = 32
_TEXT_HEADERS = {
    "Content-Type": "text/plain; charset=utf-8",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
}


_JOB = (
    "Of this job alone, by its key: the bytes of one stream as they are. Absent: all streams, with headings."
)


class LogFilters(Filters):
    job: Text | None = Field(None, description=_JOB)
    attempt: QueryId | None = Field(None, description="Of a job its newest, if absent.")
    container: Text | None = Field(None, description="Of a job `job`, if absent.")


async def download(call: Call[NoBody, LogFilters]) -> web.StreamResponse:
    query = call.query
    async with call.gateway.store.reading() as work:
        run = await work.run(call.id, call.caller)
        if run is None:
            raise not_found()
        streams = await work.log_streams(call.id)
        chosen = _several(streams, query) if query.job is None else await _one(work, call, streams)
    response = web.StreamResponse(headers=_TEXT_HEADERS)
    with call.gateway.streams.opened(call.caller.user_id), suppress(ConnectionError):  # client disconnect
        await response.prepare(call.request)
        writing = _write_all(call.gateway.store, response, chosen, with_headings=query.job is None)
        if not await call.gateway.viewers.view(call.caller.token_id, call.id, writing):
            _abort(call)  # after a regular end the text would look complete
            return response
        await response.write_eof()
    return response


async def _write_all(
    store: GatewayStore,
    response: web.StreamResponse,
    streams: list[Any],
    *,
    with_headings: bool,
) -> None:
    for stream in streams:
        await _write(store, response, stream, with_heading=with_headings)


def _abort(call: Call[Any, Any]) -> None:
    if call.request.transport is not None:
        call.request.transport.abort()


def _several(streams: list[Any], query: LogFilters) -> list[Any]:
    return [
        stream
        for stream in streams
        if query.attempt in (None, stream["attempt"]) and query.container in (None, stream["container"])
    ]


async def _one(work: Any, call: Call[NoBody, LogFilters], streams: list[Any]) -> list[Any]:
    """Return a list with the selected stream, or an empty list if it does not exist yet.

    Raises Problem 404 if there is no such job, or no such attempt of it.
    """
    query = call.query
    job_ids = {row["id"] for row in await work.jobs(call.id) if row["key"] == query.job}
    attempts = {row["number"] for row in await work.attempts(call.id) if row["job_id"] in job_ids}
    if not job_ids or (query.attempt is not None and query.attempt not in attempts):
        raise not_found()
    wanted = (query.job, query.attempt or max(attempts, default=0), query.container or "job")
    return [stream for stream in streams if (stream["job"], stream["attempt"], stream["container"]) == wanted]


async def _write(
    store: GatewayStore, response: web.StreamResponse, stream: Any, *, with_heading: bool
) -> None:
    if with_heading:
        await response.write(
            f"==> {stream['job']}, attempt {stream['attempt']}, {stream['container']} <==\n".encode()
        )
    nonce = step_markers.nonce(stream["creation_token"])
    last = b"\n"
    async for raw in _stored(store, stream["id"]):
        shown = step_markers.strip(raw, nonce, break_lines=with_heading)
        if shown:
            await response.write(shown)
            last = shown[-1:]
    if with_heading and last != b"\n":
        await response.write(b"\n")


async def _stored(store: GatewayStore, stream_id: int) -> AsyncIterator[bytes]:
    """Yield the segments of a stream. Only a few are in memory at once, never a whole log."""
    line = 1
    while True:
        async with store.reading() as work:
            rows = [
                row
                for row in await work.segments(stream_id, line, SEGMENTS_AT_ONCE)
                if row["first_line"] >= line
            ]
        for row in rows:
            yield unpacked(row["data"], row["raw_bytes"])
            line = row["first_line"] + row["line_count"]
        if len(rows) < SEGMENTS_AT_ONCE:
            return


async def stream(call: Call[NoBody, NoFilters]) -> web.StreamResponse:
    """Send server-sent events until the run is over and its logs are sealed, or the client disconnects."""
    live = call.gateway.live
    text = call.request.headers.get(LAST_EVENT_ID.name, "")
    positions = read_positions(text)
    if positions is None:
        raise Problem(400, "last_event_id", "Last-Event-ID is the id of an event of this stream.")
    async with call.gateway.store.reading() as work:
        if await work.run(call.id, call.caller) is None:
            raise not_found()
        if not await work.viewers_allowed([(call.caller.token_id, call.id)]):
            call.gateway.callers.forget()  # the cached caller is outdated
            raise not_found()
    if live.is_closing:
        raise unavailable("This gateway stops. Nothing is lost; connect again.")
    with call.gateway.streams.opened(call.caller.user_id):
        return await _followed(call, positions)


async def _followed(call: Call[NoBody, NoFilters], positions: dict[int, int]) -> web.StreamResponse:
    live = call.gateway.live
    headers = {
        "Content-Type": "text/event-stream",
        "Cache-Control": "no-store",
        "X-Accel-Buffering": "no",
        "X-Content-Type-Options": "nosniff",
    }
    response = web.StreamResponse(headers=headers)
    watch = live.watch(call.id)
    try:
        with suppress(ConnectionError):  # client disconnect
            await response.prepare(call.request)
            following = follow(live, watch, positions, partial(_send, response))
            await call.gateway.viewers.view(call.caller.token_id, call.id, following)
            await _end(call, response)
    finally:
        live.unwatch(watch)
    return response


SEND_SECONDS = 60.0
END_SECONDS = 1.0


async def _end(call: Call[Any, Any], response: web.StreamResponse) -> None:
    """End the answer. If the client does not receive the end in time, its connection is closed."""
    try:
        async with asyncio.timeout(END_SECONDS):
            await response.write_eof()
    except TimeoutError:
        _abort(call)


async def _send(response: web.StreamResponse, data: bytes) -> None:
    """Send data and wait while the client is slow.

    Raises ConnectionError if the client reads nothing for `SEND_SECONDS`.
    """
    try:
        async with asyncio.timeout(SEND_SECONDS):
            await response.write(data)
    except TimeoutError as error:
        raise ConnectionResetError("the client reads nothing") from error


ROUTES = (
    Route(
        method="GET",
        path="/runs/{id}/logs",
        handler=download,
        summary="What a run printed: one stream's bytes, or all streams in the order of the jobs.",
        query=LogFilters,
        answers={200: Answer("The text.", content_type="text/plain")},
        problems=frozenset({429}),
        is_streaming=True,
    ),
    Route(
        method="GET",
        path="/runs/{id}/logs/stream",
        handler=stream,
        summary="The logs while they grow, as events `lines`, `step`, `status` and `end`. Each id names "
        "the place to go on from.",
        headers=(LAST_EVENT_ID,),
        answers={200: Answer("Server-sent events.", content_type="text/event-stream")},
        problems=frozenset({400, 429}),
        is_streaming=True,
    ),
)
