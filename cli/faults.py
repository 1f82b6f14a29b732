"""Shows errors in a pipeline: position, message, the line with the word underlined, and the hint. Pure.

The API finds the errors. A fault is one entry of its `errors`. `line` and `column` count from 1, in
characters.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from .sanitize import in_columns

Fault = Mapping[str, Any]

_EXCERPT = 120
_TOKEN = re.compile(r"""\$\{\{.*?\}\}|"[^"]*"|'[^']*'|[^\s:,{}\[\]]+""")


def is_placed(fault: Fault) -> bool:
    """Return True if the fault has a position in the text. A missing repository, for example, has none."""
    return fault.get("line") is not None


def render(faults: Iterable[Fault], text: str, filename: str) -> str:
    """Return one paragraph for each fault. All faults must have a position in `text`."""
    # str.splitlines() also splits at separators that are not line breaks in YAML. The API refuses these.
    lines = text.removeprefix("\ufeff").splitlines()
    return "\n".join(_rendered(fault, lines, filename) for fault in faults)


def _rendered(fault: Fault, lines: list[str], filename: str) -> str:
    line, column, path = fault["line"], fault["column"], fault["path"]
    shown = [f"{filename}:{line}:{column}  {f'{path}: ' if path else ''}{fault['message']}"]
    if line <= len(lines):
        shown += _excerpt(lines[line - 1], line, column - 1)
    if fault.get("hint"):
        shown.append(f"   {fault['hint']}")
    return "\n".join(shown)


def _excerpt(line: str, number: int, column: int) -> list[str]:
    start = max(0, column - _EXCERPT // 2) if len(line) > _EXCERPT else 0
    visible = in_columns(line[start : start + _EXCERPT])
    token = _TOKEN.match(line[column : column + _EXCERPT])
    indent = len(in_columns(line[start:column]))
    width = min(len(in_columns(token[0])) if token else 1, max(1, len(visible) - indent))
    return [f"{number:>5} | {visible}", f"      | {' ' * indent}^{'~' * (width - 1)}"]
