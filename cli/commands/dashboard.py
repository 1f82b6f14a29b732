"""`towpath dashboard`: prints a link that signs a browser in."""

from typing import Annotated

import typer

from ..options import AsJson, api
from ..output import print_json, say, warn


def dashboard(
    path: Annotated[str, typer.Argument(metavar="[PATH]", help="The page, such as /ui/runs/12.")] = "/ui/",
    as_json: AsJson = False,
) -> None:
    """Print a link that signs a browser in to the dashboard as you. It works once, within 10 minutes."""
    link = api().post("/sign-in-links", {"path": path})
    if as_json:
        print_json(link)
        return
    warn("this link works once, within 10 minutes")
    say(link["url"])
