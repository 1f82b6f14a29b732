"""`towpath validate`: checks pipeline files and shows every error with its position and fix.

Nothing is stored. All files are read before the first is checked, and all are checked before anything is
printed, so a file that cannot be read or an API that does not answer leaves no half of a report.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client import Client
from ..errors import FAILED, CommandError, Refused, WrongUsage
from ..faults import Fault, is_placed, render
from ..options import AsJson, api
from ..output import print_json, say, warn
from ..reports import Report, annotations, as_json
from ..sanitize import one_line

_LONGEST_BYTES = 1 << 20
_SCHEMA = Path(__file__).parents[1] / "pipeline.schema.json"
"""`python -m docs.generate` writes this file from the grammar."""


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"
    GITHUB = "github"


Files = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILE...", help="The pipelines' YAML; - reads standard input."),
]
Schema = Annotated[
    bool, typer.Option("--schema", help="Print the language's JSON Schema, for editors, and check nothing.")
]
Form = Annotated[
    Format,
    typer.Option(
        "--format",
        help="For people; one JSON document; or annotations of the lines for a GitHub workflow.",
    ),
]


def validate(
    files: Files = None, form: Form = Format.TEXT, schema: Schema = False, answer_json: AsJson = False
) -> None:
    """Check pipelines. Exits 1 when one of them is not valid."""
    if schema:
        print_json(json.loads(_SCHEMA.read_text(encoding="utf-8")))
        return
    named = _usable(files or [], form, is_answer=answer_json)
    texts = [read_yaml(file) for file in named]
    client = api()
    reports = [_checked(client, file, text) for file, text in zip(named, texts, strict=True)]
    if answer_json:
        print_json(reports[0].answer)
        print_warnings(reports[0].answer)
    else:
        _print(reports, texts, form)
    if not all(report.is_valid for report in reports):
        raise typer.Exit(FAILED)


def _usable(files: list[str], form: Format, *, is_answer: bool) -> list[str]:
    """Return the files. Raises WrongUsage if they and the options do not fit together."""
    if not files:
        raise WrongUsage(
            "no FILE is named", "- reads standard input; --schema prints the language's JSON Schema"
        )
    if files.count("-") > 1:
        raise WrongUsage("standard input can be read only once", "name - once")
    if is_answer and (len(files) > 1 or form is not Format.TEXT):
        raise WrongUsage(
            "--json prints the API's answer about one FILE", "--format json takes several and names them"
        )
    return files


def _checked(client: Client, file: str, text: str) -> Report:
    """Return the API's answer about this text. Raises CommandError with the file's name."""
    try:
        return Report(file, client.post("/pipelines/validate", {"yaml_config": text}))
    except Refused as refused:
        raise CommandError(f"{file}: {refused.message}", refused.fix, refused.details) from refused


def _print(reports: Sequence[Report], texts: Sequence[str], form: Format) -> None:
    match form:
        case Format.JSON:
            print_json(as_json(reports))
        case Format.GITHUB:
            for report in reports:
                for line in annotations(report):
                    say(line)
        case Format.TEXT:
            for report, text in zip(reports, texts, strict=True):
                if report.is_valid:
                    say(f"{report.name}: valid")
                else:
                    print_faults(report.errors, text, report.file)
                print_warnings(report.answer, "" if len(reports) == 1 else f"{report.name}: ")


def read_yaml(file: str) -> str:
    """Return the text of the file, or of standard input for `-`. Raises WrongUsage if it cannot be read."""
    try:
        raw = sys.stdin.buffer.read(_LONGEST_BYTES + 1) if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise WrongUsage(f"{file}: {error.strerror}") from error
    if len(raw) > _LONGEST_BYTES:
        raise WrongUsage(f"{file}: larger than any pipeline may be")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise WrongUsage(f"{file}: not UTF-8: byte {error.start} is {raw[error.start]:#04x}") from error


def print_faults(faults: Sequence[Fault], text: str, file: str) -> None:
    """Print the faults on stderr, each with its line of the file and the word underlined."""
    name = "<stdin>" if file == "-" else file
    warn(render(filter(is_placed, faults), text, name))
    for fault in faults:
        if not is_placed(fault):
            warn(f"{name}  {fault['path']}: {fault['message']}")


def print_warnings(answer: Mapping[str, Any], where: str = "") -> None:
    """Print on stderr the API's warnings about a valid pipeline, each after the text `where`."""
    for found in answer.get("warnings", ()):
        warn(
            one_line(f"{where}warning: {found['message']}" + (f". {found['hint']}" if found["hint"] else ""))
        )


def explained(refused: Refused, text: str, file: str) -> CommandError:
    """Return the error to end with. If the pipeline itself was refused, print its faults first."""
    if not any(map(is_placed, refused.faults)):
        return refused
    print_faults(refused.faults, text, file)
    return CommandError(f"{file} is not a valid pipeline: nothing was stored")
