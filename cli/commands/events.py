"""`towpath events`: lists events at the forges, and why each pipeline did or did not run."""

from typing import Annotated

import typer

from ..options import AsJson, Limit, api
from ..output import Row, instant, key, print_fields, print_json, print_table, say, short_instant, short_sha
from ..sanitize import one_line

_FILES_SHOWN = 5

app = typer.Typer(help="Events: what happened at the forges, and what was decided for each pipeline.")


@app.command("list")
def listed(  # noqa: PLR0913 - an option a filter of the API
    *,
    kind: Annotated[str | None, typer.Option(help="push, tag or pull_request.")] = None,
    repository: Annotated[str | None, typer.Option(help="Full name, as octo/web.")] = None,
    branch: Annotated[str | None, typer.Option()] = None,
    sha: Annotated[str | None, typer.Option(help="All 40 digits.")] = None,
    pull_request: Annotated[int | None, typer.Option(min=1, help="Its number.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Events, the newest first."""
    page = api().items(
        "/events", limit, kind=kind, repository=repository, branch=branch, sha=sha, pull_request=pull_request
    )
    if as_json:
        print_json(page)
        return
    columns = [
        ("id", key("id")),
        ("kind", _kind),
        ("repository", key("repository")),
        ("ref", _ref),
        ("sha", lambda event: short_sha(event["sha"])),
    ]
    print_table(
        page["items"],
        [
            *columns,
            ("by", key("sender_login")),
            ("received", lambda event: short_instant(event["received_at"])),
        ],
        "no events",
    )


@app.command()
def show(event: Annotated[int, typer.Argument(metavar="EVENT", min=1)], as_json: AsJson = False) -> None:
    """An event, and for each of your pipelines what was decided and why."""
    found = api().get(f"/events/{event}")
    if as_json:
        print_json(found)
        return
    delivery = f"{found['source']} {found['delivery_id']}" if found["delivery_id"] else None
    fields = [
        ("event", f"{found['id']} {_kind(found)}"),
        ("repository", found["repository"]),
        ("ref", _ref(found)),
        ("commit", found["sha"]),
    ]
    more = [
        ("title", found["title"]),
        ("message", found["message"]),
        ("by", found["sender_login"]),
        ("trusted", found["trusted"]),
        ("files", _files(found)),
        ("delivery", delivery),
    ]
    print_fields([*fields, *more, ("received", instant(found["received_at"]))])
    say("")
    columns = [
        ("pipeline", key("pipeline")),
        ("decision", key("outcome")),
        ("run", key("run_id")),
        ("why", _why),
    ]
    none = (
        f"no pipeline of yours names {one_line(found['repository'])} (see `towpath pipelines show NAME` "
        "for the repositories a pipeline names)"
    )
    print_table(found["decisions"], columns, none)


def _why(decision: Row) -> str:
    return "; ".join(reason["text"] for reason in decision["reasons"])


def _files(event: Row) -> str | None:
    """Return the changed files in short. A gateway of an earlier version does not list them."""
    if (files := event.get("changed_files")) is not None:
        names = ", ".join(files[:_FILES_SHOWN]) + (", …" if len(files) > _FILES_SHOWN else "")
        return f"{len(files)} changed" + (f": {names}" if names else "")
    why = event.get("files_unknown")
    return None if why is None else f"not known ({why})"


def _kind(event: Row) -> str:
    return f"{event['kind']} {event['action']}" if event["action"] else str(event["kind"])


def _ref(event: Row) -> object:
    if event["pull_request"] is not None:
        return f"#{event['pull_request']} {event['branch'] or ''} -> {event['base_branch'] or ''}"
    return event["tag"] or event["branch"] or event["ref"]
