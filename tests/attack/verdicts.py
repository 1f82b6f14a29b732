"""Decides from the measurements whether the gateway keeps its promises under each attack.

Each attack is compared with the quiet phases directly before and after it. So the verdict does not change if
the machine's other load grows or shrinks during the run. This module does no I/O.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from bench.figures import quantile

P99_SECONDS = 0.25
"""A webhook may always take this long, because load on the machine alone can cause it."""
P99_RATIO = 3.0
START_RATIO = 2.0
MEMORY_RATIO = 1.5
QUIET = "quiet"


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The measurements of the other tenants in one phase, and the answers to the attackers."""

    name: str
    """The attack's key, or `quiet`."""
    answer_seconds: Sequence[float]
    """The time to the answer, for each accepted webhook."""
    refused: Mapping[str, int] = field(default_factory=dict)
    """Webhooks that were not accepted, by reason."""
    late_seconds: float = 0
    """The longest time that the second client waited for a processor.

    A high value makes the figures doubtful.
    """
    start_seconds: Sequence[float]
    """The time from a webhook to the start of its run."""
    not_started: int = 0
    """Runs that did not start within the bound."""
    memory_bytes: int = 0
    """The gateway's resident memory at the end of the phase."""
    load_average: float = 0
    answers: Mapping[str, int] = field(default_factory=dict)
    """The answers to the attackers, by status."""
    recovery_seconds: float = 0
    """The time from the end of the attack until every accepted webhook was decided."""

    @property
    def p50(self) -> float:
        return quantile(sorted(self.answer_seconds), 0.5) if self.answer_seconds else 0.0

    @property
    def p99(self) -> float:
        return quantile(sorted(self.answer_seconds), 0.99) if self.answer_seconds else 0.0

    @property
    def start(self) -> float:
        """The median of `start_seconds`."""
        return quantile(sorted(self.start_seconds), 0.5) if self.start_seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        facts = asdict(self)
        del facts["answer_seconds"]
        rounded = {"p50_seconds": self.p50, "p99_seconds": self.p99, "start_median_seconds": self.start}
        return {
            **facts,
            **{name: round(seconds, 4) for name, seconds in rounded.items()},
            "accepted": len(self.answer_seconds),
            "start_seconds": [round(seconds, 4) for seconds in self.start_seconds],
        }


@dataclass(frozen=True)
class Row:
    """One attack between two quiet phases."""

    before: Phase
    attacked: Phase
    after: Phase

    @property
    def quiet(self) -> Phase:
        """The two quiet phases as one."""
        return Phase(
            name=QUIET,
            answer_seconds=[*self.before.answer_seconds, *self.after.answer_seconds],
            start_seconds=[*self.before.start_seconds, *self.after.start_seconds],
        )

    @property
    def p99_limit(self) -> float:
        return max(P99_SECONDS, P99_RATIO * self.quiet.p99)

    @property
    def start_limit(self) -> float:
        return START_RATIO * self.quiet.start

    def failures(self) -> list[str]:
        """Return a sentence for each promise that was not kept.

        A phase without measurements is a failure too.
        """
        one = self.attacked
        found = _unusable(self.before) + _unusable(one) + _unusable(self.after)
        if one.name != QUIET and not one.answers:
            found.append("The attackers got no answer, so this was no attack.")
        if one.p99 > self.p99_limit:
            found.append(f"p99 is {_ms(one.p99)}, at most {_ms(self.p99_limit)} is promised.")
        if one.start > self.start_limit:
            found.append(f"A run starts after {_ms(one.start)}, at most {_ms(self.start_limit)} is promised.")
        if found and one.late_seconds > P99_SECONDS:
            found.append(f"The machine was busy: the second client itself was {_ms(one.late_seconds)} late.")
        return found

    def as_json(self) -> dict[str, Any]:
        limits = {
            "p99_limit_seconds": round(self.p99_limit, 4),
            "start_limit_seconds": round(self.start_limit, 4),
        }
        quiet = {
            "quiet_p99_seconds": round(self.quiet.p99, 4),
            "quiet_start_seconds": round(self.quiet.start, 4),
        }
        return {**self.attacked.as_json(), **quiet, **limits, "failures": self.failures()}


def _unusable(phase: Phase) -> list[str]:
    found = [
        f"{count} webhooks ({phase.name}) were not accepted: {why}." for why, count in phase.refused.items()
    ]
    if phase.not_started:
        found.append(f"{phase.not_started} runs ({phase.name}) did not start.")
    if not phase.answer_seconds or not phase.start_seconds:
        found.append(f"Nothing was measured ({phase.name}).")
    return found


def rows_of(phases: Sequence[Phase]) -> list[Row]:
    """Return a row for each attack. The phases alternate: quiet, an attack, quiet, another attack, quiet."""
    return [Row(*phases[at - 1 : at + 2]) for at in range(1, len(phases) - 1, 2)]


def memory_failures(before_bytes: int, after_bytes: int) -> list[str]:
    if 0 < after_bytes <= MEMORY_RATIO * before_bytes:
        return []
    limit = MEMORY_RATIO * before_bytes
    return [f"The gateway has {_mb(after_bytes)} after all attacks, at most {_mb(limit)} is promised."]


# ---------------------------------------------------------------- the table

_COLUMNS = (
    ("phase", 6), ("accepted", 9), ("p50", 8), ("p99", 8), ("at most", 8),
    ("run starts", 11), ("at most", 8), ("memory", 8), ("load", 5),
)  # fmt: skip
HEADING = "".join(f"{title:>{width}}" for title, width in _COLUMNS) + "  attackers"


def line(phase: Phase, row: Row | None = None) -> str:
    """Return a line of the table.

    The limits of an attack are known only after the quiet phase that follows it.
    """
    accepted, sent = len(phase.answer_seconds), len(phase.answer_seconds) + sum(phase.refused.values())
    p99_limit, start_limit = (_ms(row.p99_limit), _ms(row.start_limit)) if row else ("", "")
    cells = (
        phase.name, f"{accepted}/{sent}", _ms(phase.p50), _ms(phase.p99), p99_limit,
        _ms(phase.start), start_limit, _mb(phase.memory_bytes), f"{phase.load_average:.1f}",
    )  # fmt: skip
    text = "".join(f"{cell:>{width}}" for cell, (_, width) in zip(cells, _COLUMNS, strict=True))
    answers = ", ".join(f"{count} {answer}" for answer, count in sorted(phase.answers.items()))
    return f"{text}  {answers}".rstrip()


def table(phases: Sequence[Phase]) -> str:
    """Return a table of all phases, with its verdict below each attack."""
    rows = {id(row.attacked): row for row in rows_of(phases)}
    lines = [HEADING]
    for phase in phases:
        row = rows.get(id(phase))
        lines.append(line(phase, row))
        if row:
            lines.append(verdict(row.attacked.name, row.failures()))
    return "\n".join(lines)


def verdict(name: str, failures: Sequence[str]) -> str:
    return f"{name:>6}  " + ("as promised" if not failures else "NOT AS PROMISED: " + " ".join(failures))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.0f} ms"


def _mb(size: float) -> str:
    return f"{size / 1e6:.0f} MB"
