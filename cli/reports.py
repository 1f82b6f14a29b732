"""Makes the output of `towpath validate` for programs: a JSON document, or GitHub's annotations. Pure.

A report is the API's answer about one file. Its file is named as the caller named it; `-` is standard input.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from .faults import Fault
from .sanitize import one_line

_FIELDS = ("line", "column", "path", "code", "message", "hint")


class Report(NamedTuple):
    """The API's answer about one file."""

    file: str
    answer: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Return the file's name for people."""
        return "<stdin>" if self.file == "-" else self.file

    @property
    def is_valid(self) -> bool:
        return bool(self.answer["valid"])

    @property
    def errors(self) -> Sequence[Fault]:
        errors: Sequence[Fault] = self.answer["errors"]
        return errors

    @property
    def warnings(self) -> Sequence[Fault]:
        warnings: Sequence[Fault] = self.answer.get("warnings", ())
        return warnings


def as_json(reports: Sequence[Report]) -> dict[str, Any]:
    """Return the document of `--format json`, which docs/cli.md describes."""
    return {
        "valid": all(report.is_valid for report in reports),
        "files": [
            {
                "file": report.file,
                "valid": report.is_valid,
                "errors": [_entry(fault) for fault in report.errors],
                "warnings": [_entry(fault) for fault in report.warnings],
            }
            for report in reports
        ],
    }


def _entry(fault: Fault) -> dict[str, Any]:
    return {field: fault.get(field) for field in _FIELDS}


def annotations(report: Report) -> Iterator[str]:
    """Yield the workflow commands with which GitHub shows errors and warnings beside the lines of a file."""
    for level, faults in (("error", report.errors), ("warning", report.warnings)):
        for fault in faults:
            yield _annotation(level, report.file, fault)


def _annotation(level: str, file: str, fault: Fault) -> str:
    values = {
        "file": None if file == "-" else file,
        "line": fault.get("line"),
        "col": fault.get("column"),
        "title": one_line(str(fault["code"])),
    }
    properties = ",".join(
        f"{name}={_property(str(value))}" for name, value in values.items() if value is not None
    )
    about = f"{fault['path']}: " if fault["path"] else ""
    lines = [about + str(fault["message"]), *([str(fault["hint"])] if fault.get("hint") else [])]
    return f"::{level} {properties}::{_data(chr(10).join(map(one_line, lines)))}"


def _data(text: str) -> str:
    """Return the text as the value of a workflow command, which is one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """Return the text as the value of a property, which ends at a comma or a colon."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
