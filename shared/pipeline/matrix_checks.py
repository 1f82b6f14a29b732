"""Checks of matrices in a document: their names, their combinations, and how many jobs they give."""

from collections.abc import Mapping
from typing import Any

from shared.pipeline.compound_rules import OTHERS
from shared.pipeline.errors import Path, Spot, quotable
from shared.pipeline.grammar import AXIS_LIMIT, JOB_LIMIT
from shared.pipeline.matrix import combinations, key_of, most, repeated
from shared.pipeline.model import Matrix
from shared.pipeline.rules import OPENING, Reading

_PRODUCT_LIMIT = 10 * JOB_LIMIT
"""Limit for the combinations before some are excluded, because all are made to find the excluded ones."""

Values = Mapping[str, Any]


def check(jobs: Mapping[str, Values | None], reading: Reading) -> dict[str, int]:
    """Record the problems of all matrices. Return how many jobs each job of the document gives."""
    counts = {name: _count(name, (job or {}).get("matrix"), reading) for name, job in jobs.items()}
    total = sum(counts.values())
    if total > JOB_LIMIT and all(count <= JOB_LIMIT for count in counts.values()):
        message = f"the matrices give {total} jobs together; a run has at most {JOB_LIMIT}"
        reading.refuse(_spot(("jobs",), reading), "too_many", message)
    return counts


def _count(name: str, values: Values | None, reading: Reading) -> int:
    if values is None or not _is_complete(values):
        return 1
    path: Path = ("jobs", name, "matrix")
    axes = values.get(OTHERS, {})
    if len(axes) > AXIS_LIMIT:
        message = f"{len(axes)} axes; at most {AXIS_LIMIT} are allowed"
        reading.refuse(_spot(path, reading), "too_many", message)
        return 1
    if not axes and not values.get("include"):
        hint = 'Write the values of an axis, such as python: ["3.11", "3.12"], or include.'
        reading.refuse(_spot(path, reading), "empty", "this matrix has no values", hint)
        return 1
    _check_excluded(path, axes, values.get("exclude") or [], reading)
    matrix = Matrix(axes=axes, include=values.get("include") or (), exclude=values.get("exclude") or ())
    if most(matrix) > _PRODUCT_LIMIT:
        return _too_many(path, most(matrix), reading)
    found = combinations(matrix)
    if not found:
        reading.refuse(_spot(path, reading), "empty", "everything is excluded from this matrix")
    if len(found) > JOB_LIMIT:
        return _too_many(path, len(found), reading)
    has_expressions = any(OPENING in value.text for combination in found for value in combination.values())
    twice = None if has_expressions else repeated(key_of(name, combination) for combination in found)
    if twice is not None:
        message = f"two combinations have the same key, {quotable(twice, 120)}"
        reading.refuse(_spot(path, reading), "duplicate_job", message, "Remove one of them.")
    return len(found)


def _is_complete(values: Values) -> bool:
    """Return True if all parts of the matrix could be read."""
    lists = list((values.get(OTHERS) or {}).values())
    entries = [entry for key in ("include", "exclude") if key in values for entry in values[key] or [None]]
    return all(axis is not None and None not in axis for axis in lists) and all(
        entry is not None and None not in entry.values() for entry in entries
    )


def _too_many(path: Path, count: int, reading: Reading) -> int:
    message = f"this matrix gives {count} jobs; a run has at most {JOB_LIMIT}"
    reading.refuse(_spot(path, reading), "too_many", message, "Exclude combinations, or split the pipeline.")
    return 1


def _check_excluded(path: Path, axes: Values, excluded: list[Values], reading: Reading) -> None:
    for index, entry in enumerate(excluded):
        for axis in entry:
            if axis not in axes:
                spot = _spot((*path, "exclude", index, axis), reading)
                meant = reading.problems.nearest(axis, axes)
                hint = f'Did you mean "{meant}"?' if meant else f"Axes here: {', '.join(axes) or 'none'}."
                reading.refuse(spot, "unknown_axis", f'this matrix has no axis "{quotable(axis)}"', hint)


def _spot(path: Path, reading: Reading) -> Spot:
    return Spot(path, reading.places[path])
