"""Options and arguments that several commands share, and the client that all commands use."""

from typing import Annotated

import typer

from .client import Client
from .errors import CommandError
from .settings import read_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print the API's answer as JSON.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most, the newest first.")]
PipelineRef = Annotated[str, typer.Argument(metavar="PIPELINE", help="Its id or its name.")]
RepositoryRef = Annotated[
    str, typer.Argument(metavar="REPOSITORY", help="Its id or its full name, as octo/web.")
]
RunId = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The run's id.")]

MOST_REPOSITORIES = 10_000


def api() -> Client:
    """Return a client for the API that the settings name. Raises NotConfigured."""
    return Client(read_settings())


def repository_id(client: Client, reference: str) -> int:
    """Return the id of a repository, given by its id or its full name.

    Raises CommandError if no repository has the name, or if repositories of several forges have it.
    """
    if reference.isascii() and reference.isdigit():
        return int(reference)
    found = [
        row
        for row in client.items("/repositories", MOST_REPOSITORIES)["items"]
        if row["full_name"].casefold() == reference.casefold()
    ]
    if len(found) == 1:
        return int(found[0]["id"])
    if found:
        raise CommandError(
            f"several forges have a repository {reference}", "use its id: towpath repositories list"
        )
    raise CommandError(f"there is no repository {reference}", "towpath repositories list shows what there is")


def pipeline_id(client: Client, reference: str) -> int:
    """Return the id of a pipeline, given by its id or its name.

    Raises CommandError if no pipeline or more than one has the name.
    """
    if reference.isascii() and reference.isdigit():
        return int(reference)
    found = client.items("/pipelines", 2, name=reference)["items"]
    if len(found) == 1:
        return int(found[0]["id"])
    if found:
        raise CommandError(
            f"several pipelines are called {reference!r}", "use its id: towpath pipelines list"
        )
    raise CommandError(f"no pipeline is called {reference!r}", "towpath pipelines list shows what there is")
