"""The waterfall of a run: when each attempt waited and when it ran, on one scale. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

SCALE = 1000
_SMALLEST = 4
"""The width of a bar that would be too thin to see."""


@dataclass(frozen=True, slots=True)
class Bar:
    """The bar of an attempt, in thousandths of the run's time."""

    queue_x: int
    queue_width: int
    run_x: int
    run_width: int
    queue_seconds: float | None
    run_seconds: float | None


@dataclass(frozen=True, slots=True)
class Scale:
    """The time that the whole width stands for."""

    begin: datetime
    end: datetime

    def at(self, moment: datetime) -> int:
        whole = max((self.end - self.begin).total_seconds(), 0.001)
        part = (moment - self.begin).total_seconds() / whole
        return round(min(max(part, 0.0), 1.0) * SCALE)


def scale_of(run: Mapping[str, Any], now: datetime) -> Scale:
    begin, end = _at(run["created_at"]), _at(run["finished_at"])
    assert begin is not None  # noqa: S101 - every run has it
    return Scale(begin, end or max(now, begin))


def bar_of(job: Mapping[str, Any], attempt: Mapping[str, Any] | None, scale: Scale) -> Bar:
    """Return the bar of an attempt. Its queue time begins when the job may start, or with the attempt."""
    first = attempt is None or attempt["number"] == 1
    queued = _at(job["ready_at"]) if first else _at(attempt["created_at"] if attempt else None)
    begun = None if attempt is None else _at(attempt["started_at"] or attempt["claimed_at"])
    ended = _at(job["finished_at"]) if attempt is None else _at(attempt["finished_at"])
    queue_end = begun or ended or scale.end
    run_end = ended or scale.end
    queue_x = scale.at(queued) if queued else 0
    queue_width = max(scale.at(queue_end) - queue_x, 0) if queued else 0
    run_x = scale.at(begun) if begun else 0
    run_width = max(scale.at(run_end) - run_x, _SMALLEST) if begun else 0
    return Bar(
        queue_x,
        queue_width,
        min(run_x, SCALE - run_width),
        run_width,
        (queue_end - queued).total_seconds() if queued else None,
        (run_end - begun).total_seconds() if begun else None,
    )


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
