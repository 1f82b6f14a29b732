"""Lays out the jobs of a run as a graph: columns by their longest path of needs, a matrix as one box. Pure.

Jobs are the JSON objects of the API.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.statuses import TERMINAL, WORST_FIRST, Status

BOX_WIDTH, BOX_HEIGHT = 184, 42
GAP_X, GAP_Y, MARGIN = 44, 12, 8
LONGEST_NAME = 22
MOST_BOXES = 200
"""A larger graph is not drawn, because nobody can read it."""


@dataclass(frozen=True, slots=True)
class Box:
    """A job, or all jobs of a matrix."""

    title: str
    label: str
    status: str
    keys: tuple[str, ...]
    done: int
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class Graph:
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]
    """The paths of the lines between the boxes."""
    width: int
    height: int


def group_of(job: Mapping[str, Any]) -> str:
    """Return the name of a job's box: its key without the values of its matrix."""
    key: str = job["key"]
    return key.partition(" (")[0] if job["matrix"] else key


def status_of(jobs: Sequence[Mapping[str, Any]]) -> str:
    """Return the status of a box: running while a job is, else waiting, else the worst one."""
    statuses = {Status(job["status"]) for job in jobs}
    if Status.RUNNING in statuses or (statuses & TERMINAL and Status.PENDING in statuses and len(jobs) > 1):
        return Status.RUNNING
    return next((status for status in WORST_FIRST if status in statuses), Status.PENDING)


def layout(jobs: Sequence[Mapping[str, Any]]) -> Graph | None:
    """Return the graph of these jobs, or None if no job needs another one or there are too many."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for job in jobs:
        groups.setdefault(group_of(job), []).append(job)
    group_by_key = {job["key"]: name for name, members in groups.items() for job in members}
    needs = {
        name: sorted({group_by_key[need] for job in members for need in job["needs"] if need in group_by_key})
        for name, members in groups.items()
    }
    if not any(needs.values()) or len(groups) > MOST_BOXES:
        return None
    columns = _columns(needs)
    rows: dict[int, int] = {}
    boxes: dict[str, Box] = {}
    for name, members in groups.items():
        column = columns[name]
        row = rows.get(column, 0)
        rows[column] = row + 1
        boxes[name] = _box(name, members, column, row)
    edges = tuple(_edge(boxes[need], boxes[name]) for name, needed in needs.items() for need in needed)
    width = MARGIN * 2 + max(columns.values()) * (BOX_WIDTH + GAP_X) + BOX_WIDTH
    height = MARGIN * 2 + max(rows.values()) * (BOX_HEIGHT + GAP_Y) - GAP_Y
    return Graph(tuple(boxes.values()), edges, width, height)


def _columns(needs: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the column of each box: one more than the largest column of those that it needs."""
    columns = dict.fromkeys(needs, 0)
    for _ in needs:
        moved = {name: 1 + max(columns[need] for need in found) for name, found in needs.items() if found}
        if all(columns[name] == column for name, column in moved.items()):
            break
        columns |= moved
    return columns


def _box(name: str, jobs: Sequence[Mapping[str, Any]], column: int, row: int) -> Box:
    title = name if len(jobs) > 1 else str(jobs[0]["name"])
    label = title if len(title) <= LONGEST_NAME else f"{title[: LONGEST_NAME - 1]}…"
    return Box(
        title,
        label,
        status_of(jobs),
        tuple(job["key"] for job in jobs),
        sum(job["status"] in TERMINAL for job in jobs),
        MARGIN + column * (BOX_WIDTH + GAP_X),
        MARGIN + row * (BOX_HEIGHT + GAP_Y),
    )


def _edge(start: Box, end: Box) -> str:
    x1, y1 = start.x + BOX_WIDTH, start.y + BOX_HEIGHT // 2
    x2, y2 = end.x, end.y + BOX_HEIGHT // 2
    bend, turn = GAP_X // 2, x2 - GAP_X
    return f"M{x1} {y1}H{turn}C{turn + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
