"""`towpath tokens`: creates, lists and revokes API tokens."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..options import AsJson, Limit, api
from ..output import Row, key, print_json, print_table, say, short_instant, warn

app = typer.Typer(help="Tokens: what people and programs show the API.")

OfUser = Annotated[
    int | None, typer.Option("--user", min=1, help="Somebody else's, by id; administrators only.")
]


@app.command()
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What it is for.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help="read, write or admin; each includes the ones before it. Default: write."),
    ] = None,
    expires_at: Annotated[
        str | None, typer.Option(help="2027-01-31T12:00Z; default: as the token in use")
    ] = None,
    user: OfUser = None,
    as_json: AsJson = False,
) -> None:
    """Make a token. It alone goes to standard output, this once."""
    body: dict[str, Any] = {
        "name": name,
        "scopes": scope or ["write"],
        "expires_at": expires_at,
        "user_id": user,
    }
    found = api().post("/tokens", {field: value for field, value in body.items() if value is not None})
    if as_json:
        print_json(found)
        return
    warn(f"token {found['id']} for user {found['user_id']}: keep it, it is never shown again")
    say(found["token"])


@app.command("list")
def listed(user: OfUser = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Your tokens: never the tokens themselves."""
    page = api().items("/tokens", limit, user_id=user)
    if as_json:
        print_json(page)
        return
    columns = [("id", key("id")), ("name", key("name")), ("made by", key("parent_id"))]
    columns += [("begins with", key("prefix")), ("scopes", key("scopes"))]
    times = [
        ("last used", _time("last_used_at")),
        ("expires", _time("expires_at")),
        ("revoked", _time("revoked_at")),
    ]
    print_table(page["items"], [*columns, *times], "no tokens")


def _time(field: str) -> Callable[[Row], object]:
    return lambda row: short_instant(row[field])


@app.command()
def revoke(token: Annotated[int, typer.Argument(metavar="TOKEN", min=1, help="Its id.")]) -> None:
    """Revoke a token for good, and all tokens that were made with it."""
    api().delete(f"/tokens/{token}")
    say(f"revoked token {token}")
