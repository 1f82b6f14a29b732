"""`towpath explain`: says without a server what a pipeline would do with a webhook's payload, and why.

The server's own pure code gives the answer. This is the one module of the command that imports it, and it
does so only when the command runs. `make wheel` puts that code into the wheel.
"""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import CommandError, WrongUsage
from ..output import Row, key, print_fields, print_json, print_table, say, warn
from ..sanitize import one_line
from .validate import print_faults, read_yaml

_LONGEST_PAYLOAD_BYTES = 32 << 20
"""GitHub's largest payload has 25 MiB."""
_OUTLOOKS = {"starts": "starts", "depends": "depends on others", "skipped": "skipped", "error": "error"}


class Form(StrEnum):
    TEXT = "text"
    JSON = "json"


class Forge(StrEnum):
    GITHUB = "github"
    GITEA = "gitea"


class EventType(StrEnum):
    PUSH = "push"
    PULL_REQUEST = "pull_request"


def explain(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The pipeline's YAML; - reads standard input.")],
    event: Annotated[Path, typer.Option(help="A file with the payload (JSON) of a webhook.")],
    forge: Annotated[Forge | None, typer.Option(help="The forge that sent it, if it is not certain.")] = None,
    event_type: Annotated[EventType | None, typer.Option(help="What it is, if it is not certain.")] = None,
    form: Annotated[Form, typer.Option("--format", help="For people, or one JSON document.")] = Form.TEXT,
) -> None:
    """Say offline whether a pipeline would run for an event, which jobs with which values, and why."""
    text = read_yaml(file)
    answer = _answer(file, text, _payload(event), forge, event_type)
    if form is Form.JSON:
        print_json(answer)
        return
    _print_event(answer)
    if answer["run"] is not None:
        _print_run(answer["run"])


def _answer(
    file: str, text: str, payload: bytes, forge: str | None, event_type: str | None
) -> dict[str, Any]:
    """Return the answer. Raises CommandError if the pipeline is not valid or the payload gives no event."""
    from shared.explanation import NotExplained  # noqa: PLC0415 - loads pydantic, which takes 100 ms
    from shared.explanation import explain as explained  # noqa: PLC0415 - part of the same 100 ms
    from shared.pipeline.errors import PipelineInvalid  # noqa: PLC0415 - part of the same 100 ms

    try:
        return explained(text, payload, forge, event_type)
    except PipelineInvalid as error:
        print_faults([problem.model_dump() for problem in error.problems], text, file)
        name = "<stdin>" if file == "-" else file
        raise CommandError(f"{name} is not a valid pipeline: nothing can be said about the event") from error
    except NotExplained as error:
        raise CommandError(str(error), error.fix) from error


def _payload(event: Path) -> bytes:
    """Return the payload. Raises WrongUsage if it cannot be read."""
    try:
        with event.open("rb") as opened:
            payload = opened.read(_LONGEST_PAYLOAD_BYTES + 1)
    except OSError as error:
        raise WrongUsage(f"{event}: {error.strerror}") from error
    if len(payload) > _LONGEST_PAYLOAD_BYTES:
        raise WrongUsage(f"{event}: larger than any payload of a forge")
    return payload


def _print_event(answer: Mapping[str, Any]) -> None:
    event, decision = answer["event"], answer["decision"]
    kind = f"{event['kind']} {event['action']}" if event["action"] else event["kind"]
    print_fields(
        [
            ("event", f"{kind} ({answer['forge']})"),
            ("repository", event["repository"]),
            ("ref", event["ref"]),
            ("base branch", event["base_branch"]),
            ("commit", event["sha"]),
            ("by", event["sender"]),
            ("trusted", event["trusted"]),
            ("decision", decision["outcome"]),
            ("why", " ".join(reason["text"] for reason in decision["reasons"])),
        ]
    )
    for fact in answer["assumed"]:
        warn(one_line(f"assumed: {fact}"))


def _print_run(run: Mapping[str, Any]) -> None:
    group = None
    if run["group"] is not None:
        group = f"{run['group']} (limit {run['limit']}, {run['on_new']})"
    say("")
    print_fields([("group", group), ("priority", run["priority"] or None)])
    print_table(
        run["jobs"],
        [
            ("job", key("key")),
            ("outlook", lambda job: _OUTLOOKS[job["outlook"]]),
            ("why", key("why")),
        ],
    )
    for job in run["jobs"]:
        _print_job(job)


def _print_job(job: Row) -> None:
    say("")
    later = {} if job["outlook"] in ("skipped", "error") else job["expressions"]
    print_fields(
        [
            ("job", job["key"]),
            ("title", None if job["title"] == job["key"] else job["title"]),
            ("needs", job["needs"]),
            ("condition", job["condition"]),
            ("matrix", _pairs(job["matrix"])),
            ("image", job["image"]),
            ("env", _pairs(job["env"])),
            ("services", _pairs(job["services"])),
            ("allow failure", job["allow_failure"] or None),
            ("timeout", job["timeout_seconds"]),
            ("evaluated later", ", ".join(later) or None),
        ]
    )


def _pairs(values: Mapping[str, object]) -> list[str]:
    return [f"{name}={value}" for name, value in values.items()]
