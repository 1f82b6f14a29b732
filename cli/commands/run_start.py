"""`towpath runs start`: starts a run of a pipeline, with inputs."""

import time
from typing import Annotated, Any
from uuid import uuid4

import typer

from ..client import Client
from ..errors import FAILED, WrongUsage
from ..options import AsJson, api, pipeline_id
from ..output import print_fields, print_json, warn
from ..sanitize import one_line
from .run_logs import print_log

PAUSE_SECONDS = 1.0


def start(  # noqa: PLR0913 - an option a field of the API
    pipeline: Annotated[str, typer.Argument(help="Id or name of the pipeline.")],
    *,
    branch: Annotated[str | None, typer.Option(help="The branch to build, as main.")] = None,
    tag: Annotated[str | None, typer.Option(help="Or the tag.")] = None,
    sha: Annotated[
        str | None, typer.Option(help="Or the full SHA of a commit that a branch or tag has.")
    ] = None,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", help="NAME=VALUE; can be repeated.", metavar="NAME=VALUE")
    ] = None,
    repository: Annotated[
        str | None, typer.Option(help="Full name, as octo/web, if the pipeline is for several.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Print the log until it is over; exits 1 without success."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Start a run. The pipeline needs `on.manual`."""
    if sum(value is not None for value in (branch, tag, sha)) != 1:
        raise WrongUsage("what to build is missing", "give one of --branch, --tag and --sha")
    client = api()
    ref = {"branch": branch, "tag": tag, "sha": sha, "repository": repository}
    body: dict[str, Any] = {name: value for name, value in ref.items() if value is not None}
    answer = client.exchange(
        "POST",
        f"/pipelines/{pipeline_id(client, pipeline)}/runs",
        body | {"inputs": dict(map(_input, inputs or []))},
        headers={"Idempotency-Key": uuid4().hex},
    )[1]
    if follow and "kind" in answer:
        answer = _applied(client, answer)
    if as_json:
        print_json(answer)
    elif "kind" in answer:
        print_fields([("start", f"is accepted and will be done (command {answer['id']})")])
    else:
        name = f"{one_line(answer['pipeline'])} #{answer['number']}"
        print_fields([("started", f"run {answer['id']} ({name}) is {answer['status']}")])
    if follow:
        print_log(client, answer["id"], (None, None), follow=True)


def _input(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise WrongUsage(f"--input {one_line(text)} is no input", "write --input NAME=VALUE")
    return name, value


def _applied(client: Client, command: dict[str, Any]) -> dict[str, Any]:
    """Return the run that the command starts, once it is there. The scheduler decides every command."""
    while command["outcome"] is None:
        time.sleep(PAUSE_SECONDS)
        command = client.get(f"/commands/{command['id']}")
    if command["outcome"] == "refused":
        event = "" if command["event_id"] is None else f"; towpath events show {command['event_id']} says why"
        warn(f"the run was not started: {command['reason']}{event}")
        raise typer.Exit(FAILED)
    return client.get(f"/runs/{command['new_run_id']}")
