"""Trace context (W3C): one id that connects a webhook or an API request with all work that follows from it.

1. The gateway continues the `traceparent` header of a request, or begins a trace (`continued`).
2. The trace is stored with the delivery or the command, and then with its runs and their attempts.
3. A service opens a unit of work with `traced`, and says with `set_trace` whose work it is. Log lines of the
   unit have the field `trace_id`, and messages that it sends have the field `traceparent`.

Reconcilers read the trace from the rows, so it continues when all queues were wiped.

A unit of work has one trace or none: a batch of items with different traces has none. It belongs to the task
that opened it. Tasks that this task starts may outlive the unit, so they open their own. Thus a log line or
message may lack its trace, but never has the trace of other work.
"""

import asyncio
import re
import secrets
from collections.abc import Iterable, MutableMapping, Sequence
from contextvars import ContextVar
from typing import Any

_MOST_CHARACTERS = 256
"""A header of version 00 has 55 characters. Later versions may append fields."""
_HEADER = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-[!-~]*)?"
)
_SAMPLED = 0x01


class Unit:
    """A unit of work of one task, for `with`. An outer unit continues after the block."""

    __slots__ = ("_token", "task", "traceparent")

    def __init__(self, traceparent: str | None) -> None:
        self.traceparent = traceparent

    def __enter__(self) -> None:
        self.task = _task()
        self._token = _unit.set(self)

    def __exit__(self, *_exception: object) -> None:
        _unit.reset(self._token)


_unit: ContextVar[Unit | None] = ContextVar("towpath_unit_of_work", default=None)


def continued(headers: Sequence[str]) -> str:
    """Return the `traceparent` of the work that follows from a request.

    `headers` are the request's `traceparent` headers. A single valid one gives the trace id and the sampled
    flag. Otherwise the trace is new and not sampled. The span id is always new: it stands for the request.
    """
    read = _read(headers[0]) if len(headers) == 1 else None
    trace_id, sampled = read or (secrets.token_hex(16), 0)
    return f"00-{trace_id}-{secrets.token_hex(8)}-{sampled:02x}"


def valid(traceparent: object) -> str | None:
    """Return this value if it is a stored `traceparent`, otherwise None."""
    if isinstance(traceparent, str) and traceparent.startswith("00-") and _read(traceparent) is not None:
        return traceparent
    return None


def _read(header: str) -> tuple[str, int] | None:
    """Return trace id and sampled flag of a valid header."""
    found = _HEADER.fullmatch(header) if len(header) <= _MOST_CHARACTERS else None
    if found is None or (found[1] == "00" and found[4]):
        return None
    return found[2], int(found[3], 16) & _SAMPLED


def trace_id_of(traceparent: str | None) -> str | None:
    return traceparent[3:35] if traceparent else None


def fields(traceparent: str | None) -> dict[str, str]:
    """Return the field of a log line about one item of a batch, which has no trace itself."""
    trace_id = trace_id_of(traceparent)
    return {"trace_id": trace_id} if trace_id else {}


def common(traceparents: Iterable[str | None]) -> str | None:
    """Return the trace that all of these share, or None if they differ or one has none."""
    different = set(traceparents)
    return different.pop() if len(different) == 1 else None


def traced(traceparent: str | None = None) -> Unit:
    """Return a unit of work with this trace, or with none so far. Enter it once."""
    return Unit(traceparent)


def set_trace(traceparents: Iterable[str | None]) -> None:
    """Set the trace of the current unit of work to the one that all of these share.

    Does nothing outside a unit, and in another task than the unit's.
    """
    unit = _own_unit()
    if unit is not None:
        unit.traceparent = common(traceparents)


def current() -> str | None:
    """Return the `traceparent` of the current unit of work, or None."""
    unit = _own_unit()
    return None if unit is None else unit.traceparent


def add_trace_id(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add the current unit's trace to a log line that names none. A structlog processor."""
    if "trace_id" not in event and (trace_id := trace_id_of(current())) is not None:
        event["trace_id"] = trace_id
    return event


def _own_unit() -> Unit | None:
    unit = _unit.get()
    return unit if unit is not None and unit.task is _task() else None


def _task() -> "asyncio.Task[Any] | None":
    try:
        return asyncio.current_task()
    except RuntimeError:  # this thread has no event loop
        return None
