"""Output: JSON for programs, tables and lines for people. Text from others passes through `cli.sanitize`."""

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any

import typer

from .sanitize import log_line, one_line
from .settings import is_coloured

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], object]]

_STYLES = {
    "success": "green",
    "failed": "red",
    "error": "red",
    "cancelled": "yellow",
    "skipped": "dim",
    "running": "cyan",
    "pending": "blue",
    "run": "green",
}


_NARROW = 110
_WRAPPING = frozenset(
    {
        *(
            "pipeline",
            "name",
            "repository",
            "branch",
            "ref",
            "message",
            "why",
            "job",
            "step",
            "waits for",
            "attempts",
            "title",
            "matrix",
            "output",
            "value",
        ),
        *("clone from", "e-mail", "outcome", "scopes"),
    }
)
"""Titles of columns whose cells may wrap. Ids, statuses, commits and times are never wrapped."""


def say(text: str) -> None:
    typer.echo(text)


def say_document(text: str) -> None:
    """Print a stored pipeline.

    In a file or a pipe it is exact. At a terminal, characters that hide or reorder text are escaped.
    """
    if sys.stdout.isatty():
        text = "\n".join(log_line(line, coloured=False) for line in text.split("\n"))
    say(text)


def warn(text: str) -> None:
    typer.echo(text, err=True)


def print_json(answer: object) -> None:
    """Print the answer as ASCII, so that no character affects the terminal."""
    say(json.dumps(answer, indent=2, ensure_ascii=True))


def key(name: str) -> Callable[[Row], object]:
    """Return a column function that shows one field."""
    return lambda row: row.get(name)


def cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return one_line(", ".join(str(part) for part in value)) or "-"
    return one_line(str(value))


def print_table(
    rows: Sequence[Row],
    columns: Sequence[Column],
    none: str = "nothing found",
    *,
    spare: Set[str] = frozenset(),
) -> None:
    """Print a table: aligned and coloured at a terminal, otherwise one line per row, aligned with spaces.

    A narrow terminal leaves out the columns whose titles are in `spare`.
    """
    if not rows:
        say(none)
        return
    shown_columns = [column for column in columns if column[0] not in spare or not is_narrow()]
    from rich.console import Console  # noqa: PLC0415 - takes 50 ms that commands without a table do not pay
    from rich.table import Table  # noqa: PLC0415 - part of the same 50 ms
    from rich.text import Text  # noqa: PLC0415 - part of the same 50 ms

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1 if is_narrow() else 2, 0, 0))
    for title, _ in shown_columns:
        table.add_column(title, overflow="fold", no_wrap=not sys.stdout.isatty() or title not in _WRAPPING)
    for row in rows:
        shown = [cell(value(row)) for _, value in shown_columns]
        table.add_row(*(Text(text, style=_STYLES.get(text, "")) for text in shown))
    coloured = is_coloured(sys.stdout.isatty())
    Console(
        no_color=not coloured, highlight=False, emoji=False, width=None if sys.stdout.isatty() else 1000
    ).print(table)


def print_fields(fields: Sequence[tuple[str, object]]) -> None:
    """Print `name value` lines. Fields without a value are left out."""
    width = max((len(name) for name, _ in fields), default=0)
    for name, value in fields:
        if value is not None and value != []:
            say(f"{name:<{width}}  {cell(value)}")


def is_narrow() -> bool:
    """Return True at a terminal that is too narrow for full dates."""
    return sys.stdout.isatty() and shutil.get_terminal_size().columns < _NARROW


def short_sha(value: object) -> str:
    return str(value or "-")[: 8 if is_narrow() else 10]


def short_instant(value: object) -> str:
    """Return a time for a table, to the second. At a narrow terminal, return month, day and minute."""
    text = instant(value)
    return text[5:16] if is_narrow() and len(text) == 20 else text


def instant(value: object) -> str:
    """Return a time to the second."""
    text = str(value or "-")
    return text[:19].replace("T", " ") + "Z" if len(text) > 19 else text
