"""`towpath audit`: shows who changed what."""

import json
from typing import Annotated

import typer

from ..options import AsJson, Limit, api
from ..output import Row, key, print_json, print_table, short_instant


def audit(  # noqa: PLR0913 - an option a filter of the API
    *,
    user: Annotated[int | None, typer.Option(min=1, help="The user's id.")] = None,
    action: Annotated[
        str | None, typer.Option(help="As pipeline.created; or pipeline, for all of its actions.")
    ] = None,
    about: Annotated[str | None, typer.Option("--object", help="As pipeline:12.")] = None,
    after: Annotated[str | None, typer.Option(help="As 2026-01-31T12:00:00Z, included.")] = None,
    before: Annotated[str | None, typer.Option(help="As 2026-01-31T12:00:00Z, excluded.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """Who changed what, the newest first. For administrators."""
    page = api().items(
        "/audit", limit, user_id=user, action=action, object=about, at_after=after, at_before=before
    )
    if as_json:
        print_json(page)
        return
    columns = [
        ("at", lambda row: short_instant(row["at"])),
        ("by", _by),
        ("action", key("action")),
        ("object", key("object")),
        ("from", key("address")),
        ("details", lambda row: json.dumps(row["details"]) if row["details"] else None),
    ]
    print_table(page["items"], columns, "no entries", spare={"from"})


def _by(row: Row) -> object:
    return None if row["user_id"] is None else f"{row['user_id']} {row['user']}"
