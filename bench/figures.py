"""The figures that are measured, their goals, and how the figures of two systems are compared. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Measured:
    """One figure of one system, with details of the measurement."""

    value: float
    details: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A figure that could not be measured, with the reason."""

    why: str


@dataclass(frozen=True)
class Row:
    """A row of the table: a figure's key, its meaning, and its goal in its unit."""

    key: str
    title: str
    unit: str
    better: Literal["higher", "lower"]
    goal: float
    limit_seconds: float
    """Time limit for one system, including all waiting."""
    has_reference: bool = True

    @property
    def bench(self) -> str:
        """The benchmark that it belongs to, such as B5 for B5_files."""
        return self.key.split("_")[0]

    def reached(self, value: float) -> bool:
        return value >= self.goal if self.better == "higher" else value <= self.goal

    def ratio(self, value: float, reference: float) -> float | None:
        """Return how many times better than the reference the value is, or None if one of them is 0."""
        if not value or not reference:
            return None
        return value / reference if self.better == "higher" else reference / value

    @property
    def goal_text(self) -> str:
        return f"{'≥' if self.better == 'higher' else '≤'} {self.goal:g}"


ROWS = (
    Row("B1", "webhooks accepted durably, 16 at a time", "1/s", "higher", 3000, 150),
    Row(
        "B1_steady",
        "p99 of accepting a webhook at a steady 500/s",
        "ms",
        "lower",
        20,
        45,
        has_reference=False,
    ),
    Row("B2", "webhook to run success and log sealed, median", "s", "lower", 0.05, 90),
    Row("B4", "trivial runs in one burst", "runs/s", "higher", 100, 200),
    Row("B5", "log of a running job stored and sealed", "MB/s", "higher", 30, 120),
    Row(
        "B5_files", "log stored and sealed, from files on disk", "MB/s", "higher", 60, 90, has_reference=False
    ),
)


def rows_of(words: Sequence[str]) -> list[Row]:
    """Return the rows of these benchmarks, given as `B1,B2` or `B1 B2`. Return all rows if none is given.

    Raises ValueError for an unknown name.
    """
    named = {name.upper() for word in words for name in word.split(",") if name}
    if unknown := named - {row.bench for row in ROWS}:
        raise ValueError(
            f"there is no {', '.join(sorted(unknown))}; there are "
            f"{', '.join(sorted({row.bench for row in ROWS}))}"
        )
    return [row for row in ROWS if not named or row.bench in named]


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of the ordered values does not exceed.

    Raises ValueError if there are no values.
    """
    if not ordered:
        raise ValueError("no values")
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(seconds: Sequence[float], details: Mapping[str, Json]) -> Measured:
    """Return the median of single times, with further quantiles as details."""
    ordered = sorted(seconds)
    spread: dict[str, Json] = {
        f"p{round(100 * share)}_seconds": round(quantile(ordered, share), 5) for share in (0.5, 0.9, 0.99)
    }
    return Measured(quantile(ordered, 0.5), {**spread, "longest_seconds": round(ordered[-1], 5), **details})


def megabytes(printed_bytes: int, seconds: float, details: Mapping[str, Json] | None = None) -> Measured:
    """Return the rate of bytes whose presence, order and content were verified."""
    return Measured(
        printed_bytes / seconds / 1e6,
        {"proven_bytes": printed_bytes, "seconds": round(seconds, 3), **(details or {})},
    )
