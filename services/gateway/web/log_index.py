"""Finds the steps of a log: the lines of their markers.

A log of a million lines is read once. The result is kept for the streams that were asked for last, and
continued where it ended, because a stream only grows.
"""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from services.gateway.logs.log_lines import chunk_of, unpacked
from services.gateway.store import GatewayStore
from services.gateway.web.log_rows import StepLines, add_steps
from shared import step_markers

MOST_KEPT = 200
MOST_STEPS = 2000
"""Further steps are not listed. User code can print any number of markers."""
SEGMENTS_AT_ONCE = 32


@dataclass(slots=True)
class _Index:
    next_line: int = 1
    steps: list[StepLines] = field(default_factory=list)
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


class LogIndex:
    """The steps of the logs that this gateway has shown."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, _Index] = OrderedDict()

    async def steps(self, store: GatewayStore, stream_id: int, nonce: str) -> list[StepLines]:
        """Return the steps of a stream so far. Raises Transient."""
        index = self._kept.setdefault(stream_id, _Index())
        self._kept.move_to_end(stream_id)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        async with index.reading:
            while True:
                async with store.reading() as work:
                    rows = await work.segments(stream_id, index.next_line, SEGMENTS_AT_ONCE)
                fresh = [row for row in rows if row["first_line"] >= index.next_line]
                if not fresh:
                    return list(index.steps)
                await asyncio.to_thread(_add, index, fresh, nonce)


def _add(index: _Index, rows: list[Any], nonce: str) -> None:
    mark = step_markers.mark(nonce)
    for row in rows:
        raw = unpacked(row["data"], row["raw_bytes"])
        if mark in raw and len(index.steps) < MOST_STEPS:
            add_steps(index.steps, chunk_of(row["first_line"], raw), nonce)
        index.next_line = row["first_line"] + row["line_count"]
