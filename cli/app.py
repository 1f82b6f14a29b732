"""The command tree of `towpath`."""

from typing import Annotated

import typer

from .commands import (
    admin,
    audit,
    clusters,
    dashboard,
    dead_letters,
    deliveries,
    events,
    explain,
    limits,
    pipelines,
    preview,
    repositories,
    runs,
    secrets,
    tokens,
    users,
    validate,
)
from .output import say
from .version import VERSION


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"towpath {VERSION}")
        raise typer.Exit


def _towpath(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    """Handle the options of `towpath` itself."""


def build() -> typer.Typer:
    app = typer.Typer(
        name="towpath",
        help="Towpath at the terminal. TOWPATH_URL and TOWPATH_TOKEN say where and who; else "
        "`.towpath/env` of this folder does.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(help=app.info.help)(_towpath)
    app.command("validate")(validate.validate)
    app.command("dashboard")(dashboard.dashboard)
    app.command("explain")(explain.explain)
    pipelines.app.command("preview")(preview.preview)
    app.command("limits")(limits.limits)
    app.command("clusters")(clusters.clusters)
    app.command("audit")(audit.audit)
    for name, group in {
        "pipelines": pipelines.app,
        "runs": runs.app,
        "events": events.app,
        "deliveries": deliveries.app,
        "dead-letters": dead_letters.app,
        "repositories": repositories.app,
        "secrets": secrets.app,
        "users": users.app,
        "tokens": tokens.app,
        "admin": admin.app,
    }.items():
        app.add_typer(group, name=name, no_args_is_help=True)
    return app
