"""`towpath users`: manages people and programs. For administrators."""

from typing import Annotated, Any

import typer

from ..options import AsJson, Limit, api
from ..output import instant, key, print_fields, print_json, print_table, say, short_instant

app = typer.Typer(help="Users: people and programs. For administrators, but for `me`.")

UserId = Annotated[int, typer.Argument(metavar="USER", min=1, help="The user's id.")]


@app.command("list")
def listed(limit: Limit = 50, as_json: AsJson = False) -> None:
    """All users."""
    page = api().items("/users", limit)
    if as_json:
        print_json(page)
        return
    columns = [("id", key("id")), ("name", key("name")), ("e-mail", key("email")), ("admin", key("is_admin"))]
    print_table(page["items"], [*columns, ("disabled", lambda user: short_instant(user["disabled_at"]))])


@app.command()
def me(as_json: AsJson = False) -> None:
    """Who your token is."""
    _print(api().get("/users/me"), as_json=as_json)


@app.command()
def show(user: UserId, as_json: AsJson = False) -> None:
    """A user."""
    _print(api().get(f"/users/{user}"), as_json=as_json)


@app.command()
def add(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    email: Annotated[str, typer.Argument(metavar="E-MAIL")],
    admin: Annotated[bool, typer.Option("--admin", help="May do everything.")] = False,
    as_json: AsJson = False,
) -> None:
    """Add a user. `towpath tokens create NAME --user ID` makes the token they sign in with."""
    _print(api().post("/users", {"name": name, "email": email, "is_admin": admin}), as_json=as_json)


@app.command()
def disable(user: UserId) -> None:
    """Refuse a user's tokens from now on; what they did stays readable."""
    api().delete(f"/users/{user}")
    say(f"disabled user {user}")


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    disabled = instant(found["disabled_at"]) if found["disabled_at"] else None
    print_fields(
        [
            ("user", f"{found['id']} {found['name']}"),
            ("e-mail", found["email"]),
            ("admin", found["is_admin"]),
            ("disabled", disabled),
        ]
    )
