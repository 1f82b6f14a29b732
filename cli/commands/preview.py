"""`towpath pipelines preview`: shows what recent events would have started under a YAML that is not saved."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from ..errors import Refused
from ..options import api, pipeline_id
from ..output import Row, key, print_json, print_table, say
from .validate import explained, read_yaml


class Format(StrEnum):
    TEXT = "text"
    JSON = "json"


def preview(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The YAML; - reads standard input.")],
    pipeline: Annotated[
        str | None, typer.Option(help="Id or name of the pipeline that this YAML would change.")
    ] = None,
    last: Annotated[int | None, typer.Option(min=1, max=50, help="How many events; 20 if absent.")] = None,
    event: Annotated[list[int] | None, typer.Option(min=1, help="This event; may be repeated.")] = None,
    form: Annotated[Format, typer.Option("--format", help="text or json.")] = Format.TEXT,
) -> None:
    """Show the runs that recent events would have started under this YAML. Nothing is stored."""
    client = api()
    path = "/pipelines/preview" if pipeline is None else f"/pipelines/{pipeline_id(client, pipeline)}/preview"
    body: dict[str, Any] = {"yaml_config": read_yaml(file)}
    body |= {"events": last} if last is not None else {}
    body |= {"event_ids": event} if event else {}
    try:
        found = client.request("POST", path, body)
    except Refused as refused:
        raise explained(refused, body["yaml_config"], file) from refused
    if form is Format.JSON:
        print_json(found)
        return
    columns = [
        ("event", key("event_id")),
        ("kind", lambda row: f"{row['kind']} {row['action'] or ''}".rstrip()),
        ("ref", _ref),
        ("was -> would be", _difference),
        ("jobs", _jobs),
        ("why", _why),
    ]
    print_table(found["items"], columns, "no events of the repositories that this YAML names")
    changed = sum(row["changed"] for row in found["items"])
    if found["items"]:
        say(f"{changed} of {len(found['items'])} decisions would be different")


def _ref(event: Row) -> object:
    if event["pull_request"] is not None:
        return f"#{event['pull_request']} {event['branch'] or ''} -> {event['base_branch'] or ''}"
    return event["tag"] or event["branch"] or event["ref"]


def _difference(row: Row) -> str:
    was, would_be = (one["outcome"] if one else "nothing" for one in (row["was"], row["would_be"]))
    return f"{was} -> {would_be}" if row["changed"] else str(would_be)


def _jobs(row: Row) -> object:
    jobs = row["would_be"]["jobs"] if row["would_be"] else []
    return [job["key"] if job["outcome"] == "run" else f"{job['key']} ({job['outcome']})" for job in jobs]


def _why(row: Row) -> str:
    if row["would_be"] is None:
        return "The YAML does not name the repository."
    reasons = [reason["text"] for reason in row["would_be"]["reasons"]]
    jobs = row["would_be"]["jobs"]
    return " ".join([*reasons, *(f"{job['key']}: {job['why']}." for job in jobs if job["outcome"] != "run")])
