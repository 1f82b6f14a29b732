"""`towpath validate`: checks a pipeline file and shows every error with its position and fix.

Nothing is stored.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import FAILED, CommandError, Refused, WrongUsage
from ..faults import Fault, is_placed, render
from ..options import AsJson, api
from ..output import print_json, say, warn
from ..sanitize import one_line

File = Annotated[
    str | None, typer.Argument(metavar="FILE", help="The pipeline's YAML; - reads standard input.")
]
_LONGEST_BYTES = 1 << 20
_SCHEMA = Path(__file__).parents[1] / "pipeline.schema.json"
"""`python -m docs.generate` writes this file from the grammar."""


Schema = Annotated[
    bool, typer.Option("--schema", help="Print the language's JSON Schema, for editors, and check nothing.")
]


def validate(file: File = None, schema: Schema = False, as_json: AsJson = False) -> None:
    """Check a pipeline. Exits 1 when it is not valid."""
    if schema:
        print_json(json.loads(_SCHEMA.read_text(encoding="utf-8")))
        return
    if file is None:
        raise WrongUsage(
            "no FILE is named", "- reads standard input; --schema prints the language's JSON Schema"
        )
    text = read_yaml(file)
    answer = api().post("/pipelines/validate", {"yaml_config": text})
    if as_json:
        print_json(answer)
    elif answer["valid"]:
        say(f"{'<stdin>' if file == '-' else file}: valid")
    else:
        print_faults(answer["errors"], text, file)
    print_warnings(answer)
    if not answer["valid"]:
        raise typer.Exit(FAILED)


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


def print_warnings(answer: dict[str, Any]) -> None:
    """Print on stderr the API's warnings about a valid pipeline."""
    for found in answer.get("warnings", ()):
        warn(one_line(f"warning: {found['message']}" + (f". {found['hint']}" if found["hint"] else "")))


def explained(refused: Refused, text: str, file: str) -> CommandError:
    """Return the error to end with. If the pipeline itself was refused, print its faults first."""
    if not any(map(is_placed, refused.faults)):
        return refused
    print_faults(refused.faults, text, file)
    return CommandError(f"{file} is not a valid pipeline: nothing was stored")
