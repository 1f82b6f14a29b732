"""Sends one client's live log, from the client's positions to the end of the run, at the client's pace."""

from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from services.gateway.logs.live_logs import LiveLogs, LogState, Watch
from services.gateway.logs.log_lines import Marked, Positions, Said, Stream, positions_text, shown
from shared.errors import Transient
from shared.step_markers import StepBegin

HEARTBEAT_SECONDS = 3.0
"""The interval of comments that show proxies and clients that the connection is alive.

The state of a quiet run is also checked at this interval.
"""

Send = Callable[[bytes], Awaitable[None]]


async def follow(live: LiveLogs, watch: Watch, positions: dict[int, int], send: Send) -> None:
    """Send all stored lines, and then new lines as they are stored.

    Returns after the `end` event, or when the run no longer exists or the gateway stops.
    """
    told_status: str | None = None
    await send(b"retry: 1000\n\n")
    while not live.is_closing:
        version = watch.version
        try:
            state = await watch.state(live.store)
            if state is None:
                return
            if state.status != told_status:
                told_status = state.status
                await send(event("status", {"status": state.status, "reason": state.reason}, positions))
            has_sent = await _send_new(live, watch, state, positions, send)
        except Transient:
            has_sent = False
            state = None
        if state is not None and not has_sent and state.is_complete and watch.version == version:
            await send(event("end", {"status": state.status, "reason": state.reason}, positions))
            return
        if not has_sent:
            await watch.heard_since(version, HEARTBEAT_SECONDS)
            if watch.version == version:
                await send(b": still here\n\n")


async def _send_new(
    live: LiveLogs, watch: Watch, state: LogState, positions: dict[int, int], send: Send
) -> bool:
    """Send some lines of each stream that has new ones. Return True if anything was sent."""
    has_sent = False
    for stream in state.streams:
        position = positions.setdefault(stream.id, 1)
        if position >= watch.next_line(stream):
            continue
        for chunk in await live.chunks(stream.id, position):
            for told in shown(chunk, positions[stream.id], stream.nonce):
                positions[stream.id] = told.next_line
                await send(_told(stream, told, positions))
                has_sent = True
    return has_sent


def _told(stream: Stream, told: Said | Marked, positions: Positions) -> bytes:
    place = {"stream": stream.id, "job": stream.job, "attempt": stream.attempt, "container": stream.container}
    if isinstance(told, Said):
        return event("lines", {**place, "first_line": told.first_line, "lines": told.lines}, positions)
    step = told.step
    if isinstance(step, StepBegin):
        return event(
            "step",
            {**place, "line": told.line, "phase": "begin", "index": step.index, "name": step.name},
            positions,
        )
    ended = {"phase": "end", "index": step.index, "exit_code": step.exit_code, "outcome": step.outcome}
    return event("step", {**place, "line": told.line, **ended}, positions)


def event(kind: str, data: dict[str, Any], positions: Positions) -> bytes:
    """Format a server-sent event. JSON has no line feeds, so the data is one line."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (
        positions_text(positions).encode(),
        kind.encode(),
        orjson.dumps(data),
    )
