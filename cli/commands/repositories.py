"""`towpath repositories`: manages repositories, their clone URLs, and who may use them.

Secrets are read from files, never from the command line.
"""

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..errors import WrongUsage
from ..options import AsJson, Limit, RepositoryRef, api, repository_id
from ..output import key, print_fields, print_json, print_table, say

app = typer.Typer(help="Repositories: which may start runs, and who may use them.")

UserId = Annotated[int, typer.Argument(metavar="USER", min=1, help="The user's id.")]
HookKind = Literal["repository", "organization", "integration", "business", "enterprise"]
SecretFile = typer.Option(metavar="PATH", help="A file that holds it; - reads standard input.")


@app.command("list")
def listed(limit: Limit = 50, as_json: AsJson = False) -> None:
    """Repositories granted to you; an administrator's are all."""
    page = api().items("/repositories", limit)
    if as_json:
        print_json(page)
        return
    columns = [
        ("id", key("id")),
        ("forge", key("forge")),
        ("name", key("full_name")),
        ("your role", key("role")),
        ("clone from", key("clone_url")),
    ]
    print_table(
        page["items"], columns, "no repositories: towpath repositories add OWNER/NAME --clone-url URL"
    )


@app.command()
def show(repository: RepositoryRef, as_json: AsJson = False) -> None:
    """A repository, and where its webhook goes."""
    client = api()
    _print(client.get(f"/repositories/{repository_id(client, repository)}"), as_json=as_json)


@app.command()
def add(  # noqa: PLR0913 - an option a field of the API
    *,
    full_name: Annotated[str, typer.Argument(metavar="OWNER/NAME")],
    clone_url: Annotated[str, typer.Option(help="https://, without credentials.")],
    forge: Annotated[str, typer.Option(help="github or gitea.")] = "github",
    forge_id: Annotated[
        int | None,
        typer.Option(
            min=1, help="The forge's number for it; learned from the first verified delivery if absent."
        ),
    ] = None,
    webhook_secret_file: Annotated[str | None, SecretFile] = None,
    clone_token_file: Annotated[str | None, SecretFile] = None,
    as_json: AsJson = False,
) -> None:
    """Register a repository. Without a secret of its own the forge-wide one counts."""
    body: dict[str, Any] = {"full_name": full_name, "forge": forge, "clone_url": clone_url}
    if forge_id is not None:
        body["forge_id"] = forge_id
    if webhook_secret_file is not None:
        body["webhook_secret"] = _secret(webhook_secret_file)
    if clone_token_file is not None:
        body["clone_token"] = _secret(clone_token_file)
    _print(api().post("/repositories", body), as_json=as_json)


@app.command()
def change(  # noqa: PLR0913 - an option a field of the API
    *,
    repository: RepositoryRef,
    full_name: Annotated[
        str | None, typer.Option(metavar="OWNER/NAME", help="Its new name at the forge; administrators.")
    ] = None,
    clone_url: Annotated[
        str | None, typer.Option(help="Needs the new address's clone token too, or --no-clone-token.")
    ] = None,
    forge_id: Annotated[
        int | None, typer.Option(min=1, help="The forge's number for it; administrators.")
    ] = None,
    hook: Annotated[
        HookKind | None, typer.Option(help="GitHub: the kind of hook that counts; administrators.")
    ] = None,
    webhook_secret_file: Annotated[str | None, SecretFile] = None,
    no_webhook_secret: Annotated[
        bool, typer.Option("--no-webhook-secret", help="The forge-wide one counts.")
    ] = False,
    clone_token_file: Annotated[str | None, SecretFile] = None,
    no_clone_token: Annotated[bool, typer.Option("--no-clone-token", help="Clone without one.")] = False,
    as_json: AsJson = False,
) -> None:
    """Change a repository. What no option names stays as it is."""
    named = {"full_name": full_name, "clone_url": clone_url, "forge_id": forge_id, "hook_target_type": hook}
    body: dict[str, Any] = {field: value for field, value in named.items() if value is not None}
    body |= _secret_change("webhook_secret", webhook_secret_file, removed=no_webhook_secret)
    body |= _secret_change("clone_token", clone_token_file, removed=no_clone_token)
    if not body:
        raise WrongUsage(
            "nothing to change: name at least one option, see towpath repositories change --help"
        )
    client = api()
    _print(client.patch(f"/repositories/{repository_id(client, repository)}", body), as_json=as_json)


@app.command()
def delete(repository: RepositoryRef) -> None:
    """Take a repository out: its webhooks start nothing more; what ran stays readable."""
    client = api()
    client.delete(f"/repositories/{repository_id(client, repository)}")
    say(f"deleted repository {repository}")


@app.command()
def grants(repository: RepositoryRef, limit: Limit = 50, as_json: AsJson = False) -> None:
    """Who may use a repository."""
    client = api()
    page = client.items(f"/repositories/{repository_id(client, repository)}/grants", limit)
    if as_json:
        print_json(page)
        return
    print_table(
        page["items"],
        [("user", key("user_id")), ("name", key("name")), ("e-mail", key("email")), ("role", key("role"))],
        "no grants",
    )


@app.command()
def grant(
    repository: RepositoryRef,
    user: UserId,
    role: Annotated[
        str,
        typer.Option(help="maintainer: their pipelines may match it; viewer: they see its events and runs."),
    ],
) -> None:
    """Let a user use a repository."""
    client = api()
    found = client.put(f"/repositories/{repository_id(client, repository)}/grants/{user}", {"role": role})
    print_fields([(f"repository {repository}", f"{found['name']} is {found['role']}")])


@app.command()
def withdraw(repository: RepositoryRef, user: UserId) -> None:
    """Take a grant back."""
    client = api()
    client.delete(f"/repositories/{repository_id(client, repository)}/grants/{user}")
    say(f"user {user} may no longer use repository {repository}")


def _secret_change(field: str, path: str | None, *, removed: bool) -> dict[str, str | None]:
    """Return the field with the new secret, with null to remove it, or nothing if no option was given.

    Raises WrongUsage.
    """
    if removed and path is not None:
        name = field.replace("_", "-")
        raise WrongUsage(f"--{name}-file and --no-{name} contradict each other")
    if removed:
        return {field: None}
    return {} if path is None else {field: _secret(path)}


def _secret(path: str) -> str:
    """Return the secret in a file, without the line feed at its end. Raises WrongUsage."""
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise WrongUsage(f"{path}: cannot be read as text") from error
    return text.rstrip("\r\n")


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_fields(
        [
            ("repository", f"{found['id']} {found['full_name']}"),
            (
                "forge",
                f"{found['forge']} {found['forge_id'] or '(its number is learned from the first delivery)'}",
            ),
            ("clone from", found["clone_url"]),
            ("webhook", found["webhook_url"]),
            (
                "hook that counts",
                found["hook_target_type"] or "the first that reports a push or pull request",
            ),
            ("verified by", "its own secret" if found["has_webhook_secret"] else "the forge-wide secret"),
            ("your role", found["role"]),
        ]
    )
