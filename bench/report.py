"""The results of the benchmarks, as JSON for programs and as a table for people.

Apart from `write`, all functions are pure.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bench.figures import Failed, Json, Measured, Row

Outcome = Measured | Failed


@dataclass(frozen=True)
class Line:
    """One row with the results of both systems. `reference` is None if Buildbot has no equivalent."""

    row: Row
    ours: Outcome
    reference: Outcome | None

    @property
    def failed(self) -> bool:
        return isinstance(self.ours, Failed) or isinstance(self.reference, Failed)

    @property
    def ratio(self) -> float | None:
        if isinstance(self.ours, Measured) and isinstance(self.reference, Measured):
            return self.row.ratio(self.ours.value, self.reference.value)
        return None

    @property
    def reached(self) -> bool | None:
        return self.row.reached(self.ours.value) if isinstance(self.ours, Measured) else None

    def as_json(self) -> dict[str, Json]:
        """Return the line as JSON. A figure that could not be measured is null, with the reason beside it."""
        found: dict[str, Json] = {
            "title": self.row.title,
            "unit": self.row.unit,
            "better": self.row.better,
            "goal": self.row.goal,
            "reached": self.reached,
        }
        found |= {
            "value": _value(self.ours),
            "reference": _value(self.reference),
            "ratio": None if self.ratio is None else round(self.ratio, 2),
        }
        found |= {
            name: outcome.why
            for name, outcome in (("failed", self.ours), ("reference_failed", self.reference))
            if isinstance(outcome, Failed)
        }
        if isinstance(self.ours, Measured):
            found |= self.ours.details
        if isinstance(self.reference, Measured):
            found["reference_details"] = dict(self.reference.details)
        return found


def lines_of(
    rows: Sequence[Row], ours: Mapping[str, Outcome], reference: Mapping[str, Outcome]
) -> list[Line]:
    """Return the lines. A row without a result counts as failed and is never left out."""
    missing = Failed("not measured")
    return [
        Line(row, ours.get(row.key, missing), reference.get(row.key, missing) if row.has_reference else None)
        for row in rows
    ]


def table(lines: Sequence[Line]) -> str:
    """Return the table that `make bench` prints."""
    cells: list[tuple[str, ...]] = [("", "what", "Towpath", "Buildbot", "ratio", "goal", "")]
    cells += [_cells(line) for line in lines]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    aligned = [
        "  ".join(
            _padded(cell, width, column) for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    reasons = [f"{line.row.key} failed: {line.ours.why}" for line in lines if isinstance(line.ours, Failed)]
    reasons += [
        f"{line.row.key} failed at Buildbot: {line.reference.why}"
        for line in lines
        if isinstance(line.reference, Failed)
    ]
    return "\n".join([*aligned, *reasons])


def write(folder: Path, lines: Sequence[Line], about: Mapping[str, Json], at: datetime) -> list[Path]:
    """Write `latest.json` and a file named by the time. Return both paths."""
    text = (
        json.dumps(
            {
                **{line.row.key: line.as_json() for line in lines},
                "about": {"at": at.isoformat(timespec="seconds"), **about},
            },
            indent=2,
        )
        + "\n"
    )
    folder.mkdir(exist_ok=True)
    paths = [folder / "latest.json", folder / f"{at:%Y-%m-%d-%H%M%S}.json"]
    for path in paths:
        path.write_text(text)
    return paths


def _value(outcome: Outcome | None) -> float | None:
    return float(f"{outcome.value:.5g}") if isinstance(outcome, Measured) else None


def _cells(line: Line) -> tuple[str, ...]:
    row = line.row
    return (
        row.key,
        row.title,
        _cell(line.ours, row),
        _cell(line.reference, row),
        _ratio(line),
        row.goal_text,
        _mark(line),
    )


def _cell(outcome: Outcome | None, row: Row) -> str:
    if outcome is None:
        return "-"
    return "failed" if isinstance(outcome, Failed) else f"{outcome.value:.4g} {row.unit}"


def _ratio(line: Line) -> str:
    return "-" if line.ratio is None else f"{line.ratio:.3g} x"


def _mark(line: Line) -> str:
    return {True: "reached", False: "missed", None: ""}[line.reached]


def _padded(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)
