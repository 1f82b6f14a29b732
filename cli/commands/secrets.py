"""`towpath secrets`: sets the secrets of a repository, or of the installation.

A value comes from a prompt, a file or standard input, never from the command line.
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..client import Client, segment
from ..errors import WrongUsage
from ..options import AsJson, Limit, api, repository_id
from ..output import Row, key, print_json, print_table, say, short_instant

app = typer.Typer(help="Secrets: variables of the jobs that list their names. Nobody can read their values.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Its name, as DEPLOY_KEY.")]
OfRepository = Annotated[
    str | None,
    typer.Option("--repository", "-r", metavar="REPOSITORY", help="The repository's id or full name."),
]
OfInstallation = Annotated[
    bool, typer.Option("--installation", help="A secret of the installation; for administrators.")
]


@app.command("set")
def set_(
    *,
    name: Name,
    repository: OfRepository = None,
    installation: OfInstallation = False,
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="PATH", help="A file that holds it; - reads standard input."),
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            metavar="REPOSITORY", help="Whose jobs may use a secret of the installation; repeat it."
        ),
    ] = None,
) -> None:
    """Set a secret. Its value is asked for, or read from a file or from standard input."""
    if allow and not installation:
        raise WrongUsage("--allow belongs to --installation: a repository's secret is for its own jobs")
    _check_owner(repository, installation=installation)
    client = api()
    value = _value(name, file)
    if not installation:
        client.put(f"{_path(client, repository)}/{segment(name)}", {"value": value})
        say(f"set {name} for the jobs of {repository}")
        return
    body: dict[str, Any] = {"value": value}
    if allow is not None:
        body["repositories"] = [repository_id(client, one) for one in allow]
    if any(row["name"] == name for row in client.items("/secrets", 10_000)["items"]):
        client.put(f"/secrets/{segment(name)}", body)
    else:
        client.post("/secrets", {"name": name, **body})
    say(f"set {name} of the installation")


@app.command("list")
def listed(
    repository: OfRepository = None,
    installation: OfInstallation = False,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """The names of the secrets, and when they were last set."""
    _check_owner(repository, installation=installation)
    client = api()
    page = client.items(_path(client, repository), limit)
    if as_json:
        print_json(page)
        return
    columns = [("name", key("name")), ("set", _changed), ("by user", key("updated_by"))]
    if installation:
        columns.append(("repositories", lambda row: ", ".join(map(str, row["repositories"])) or "none"))
    print_table(page["items"], columns, "no secrets")


@app.command()
def remove(name: Name, repository: OfRepository = None, installation: OfInstallation = False) -> None:
    """Remove a secret. Jobs that have started keep it; jobs that start later and list it fail."""
    _check_owner(repository, installation=installation)
    client = api()
    client.delete(f"{_path(client, repository)}/{segment(name)}")
    say(f"removed {name}")


def _changed(row: Row) -> str:
    return short_instant(row["updated_at"])


def _check_owner(repository: str | None, *, installation: bool) -> None:
    if (repository is None) is not installation:
        raise WrongUsage("say whose secret it is: --repository OWNER/NAME, or --installation")


def _path(client: Client, repository: str | None) -> str:
    return "/secrets" if repository is None else f"/repositories/{repository_id(client, repository)}/secrets"


def _value(name: str, path: str | None) -> str:
    """Return the value, without the line feed at its end. Raises WrongUsage."""
    if path is None and sys.stdin.isatty():
        return str(typer.prompt(f"Value of {name}", hide_input=True, err=True))
    try:
        text = sys.stdin.read() if path in (None, "-") else Path(str(path)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{path}: cannot be read as text") from error
    value = text.removesuffix("\n").removesuffix("\r")
    if not value:
        raise WrongUsage(f"there is no value for {name}", "give a file with --file, or pipe the value in")
    return value
