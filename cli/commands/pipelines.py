"""`towpath pipelines`: manages stored pipelines."""

from typing import Annotated, Any

import typer

from ..client import Client
from ..errors import Refused, WrongUsage
from ..options import AsJson, Limit, PipelineRef, api, pipeline_id
from ..output import instant, key, print_fields, print_json, print_table, say, say_document, short_instant
from .validate import explained, print_warnings, read_yaml

app = typer.Typer(help="Pipelines: stored definitions. Each save of another YAML makes a revision.")

File = Annotated[str, typer.Argument(metavar="FILE", help="The pipeline's YAML; - reads standard input.")]


@app.command("list")
def listed(
    name: Annotated[str | None, typer.Option(help="Only those of this name.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Your pipelines; an administrator's are all."""
    page = api().items("/pipelines", limit, name=name)
    if as_json:
        print_json(page)
        return
    columns = [
        ("id", key("id")),
        ("name", key("name")),
        ("enabled", key("enabled")),
        ("revision", key("revision")),
    ]
    print_table(
        page["items"],
        [*columns, ("updated", lambda row: short_instant(row["updated_at"]))],
        "no pipelines: towpath pipelines create FILE --name NAME",
    )


@app.command()
def show(pipeline: PipelineRef, as_json: AsJson = False) -> None:
    """A pipeline and its YAML."""
    client = api()
    found = client.get(f"/pipelines/{pipeline_id(client, pipeline)}")
    if as_json:
        print_json(found)
        return
    fields = [
        ("pipeline", f"{found['id']} {found['name']}"),
        ("description", found["description"] or None),
        ("enabled", found["enabled"]),
    ]
    print_fields([*fields, ("revision", found["revision"]), ("updated", instant(found["updated_at"]))])
    say("")
    say_document(found["yaml_config"].rstrip("\n"))
    print_warnings(found)


@app.command()
def create(
    file: File,
    name: Annotated[str, typer.Option(help="What people call it; yours alone.")],
    description: Annotated[str, typer.Option(help="A sentence about it.")] = "",
    disabled: Annotated[
        bool, typer.Option("--disabled", help="Store it without matching events yet.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Store a pipeline. Exits 1, with every error and its place, when the YAML is not valid."""
    body: dict[str, Any] = {
        "name": name,
        "description": description,
        "yaml_config": read_yaml(file),
        "enabled": not disabled,
    }
    _tell(_stored(api(), "POST", "/pipelines", body, file), "created", as_json=as_json)


@app.command()
def update(
    pipeline: PipelineRef,
    file: Annotated[
        str | None, typer.Argument(metavar="[FILE]", help="The new YAML; - reads standard input.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    description: Annotated[str | None, typer.Option(help="Another description.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change a pipeline; what is not named stays as it is."""
    body: dict[str, Any] = {
        "name": name,
        "description": description,
        "yaml_config": None if file is None else read_yaml(file),
    }
    changes = {field: value for field, value in body.items() if value is not None}
    if not changes:
        raise WrongUsage("nothing to change", "name a FILE, --name or --description")
    client = api()
    path = f"/pipelines/{pipeline_id(client, pipeline)}"
    _tell(_stored(client, "PUT", path, changes, file or ""), "updated", as_json=as_json)


@app.command()
def delete(pipeline: PipelineRef) -> None:
    """Delete a pipeline: nothing new matches it, what it did stays readable, its name is free again."""
    client = api()
    number = pipeline_id(client, pipeline)
    client.delete(f"/pipelines/{number}")
    say(f"deleted pipeline {number}")


@app.command()
def enable(pipeline: PipelineRef) -> None:
    """Let events start it."""
    _switch(pipeline, enabled=True)


@app.command()
def disable(pipeline: PipelineRef) -> None:
    """Let no event start it; what runs goes on."""
    _switch(pipeline, enabled=False)


def _switch(pipeline: str, *, enabled: bool) -> None:
    client = api()
    found = client.put(f"/pipelines/{pipeline_id(client, pipeline)}", {"enabled": enabled})
    _tell(found, "enabled" if enabled else "disabled", as_json=False)


def _stored(client: Client, method: str, path: str, body: dict[str, Any], file: str) -> dict[str, Any]:
    try:
        return client.request(method, path, body)
    except Refused as refused:
        raise explained(refused, str(body.get("yaml_config", "")), file) from refused


def _tell(found: dict[str, Any], done: str, *, as_json: bool) -> None:
    if as_json:
        print_json(found)
    else:
        print_fields([(f"{done} pipeline", f"{found['id']} {found['name']}, revision {found['revision']}")])
    print_warnings(found)
