"""`towpath runs`: lists, starts and shows runs, prints their logs, and cancels, retries or approves them."""

from http import HTTPStatus
from typing import Annotated, Any

import typer

from ..errors import FAILED, WrongUsage
from ..options import AsJson, Limit, RunId, api, pipeline_id
from ..output import (
    Row,
    key,
    print_fields,
    print_json,
    print_table,
    say,
    short_instant,
    short_sha,
    warn,
)
from ..sanitize import one_line
from .run_logs import print_log
from .run_start import start
from .run_view import print_run

app = typer.Typer(help="Runs: executions of pipelines.")
app.command()(start)

_EVENTS = "push, tag, pull_request or manual"


@app.command("list")
def listed(  # noqa: PLR0913 - an option a filter of the API
    *,
    status: Annotated[
        str | None, typer.Option(help="pending, running, success, failed, cancelled, error or skipped.")
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Id or name of a pipeline.")] = None,
    repository: Annotated[str | None, typer.Option(help="Full name, as octo/web.")] = None,
    branch: Annotated[str | None, typer.Option()] = None,
    sha: Annotated[str | None, typer.Option(help="All 40 digits.")] = None,
    event: Annotated[str | None, typer.Option(help=_EVENTS)] = None,
    created_after: Annotated[str | None, typer.Option(help="2026-01-31T12:00:00Z; includes it.")] = None,
    created_before: Annotated[str | None, typer.Option(help="2026-01-31T12:00:00Z; excludes it.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """Runs, the newest first."""
    client = api()
    filters = {"status": status, "repository": repository, "branch": branch, "sha": sha, "event": event}
    if pipeline is not None:
        filters["pipeline_config_id"] = str(pipeline_id(client, pipeline))
    page = client.items("/runs", limit, **filters, created_after=created_after, created_before=created_before)
    if as_json:
        print_json(page)
        return
    columns = [
        ("id", key("id")),
        ("pipeline", lambda run: f"{run['pipeline']} #{run['number']}"),
        ("status", key("status")),
        ("reason", key("reason")),
    ]
    more = [
        ("event", key("event")),
        ("branch", key("branch")),
        ("sha", lambda run: short_sha(run["sha"])),
        ("by", key("triggered_by")),
    ]
    print_table(
        page["items"],
        [*columns, *more, ("created", lambda run: short_instant(run["created_at"]))],
        "no runs",
        spare={"event", "by"},
    )


@app.command()
def show(run: RunId, as_json: AsJson = False) -> None:
    """A run with its jobs, attempts and steps, and the reason for each end."""
    found = api().get(f"/runs/{run}")
    if as_json:
        print_json(found)
    else:
        print_run(found)


@app.command()
def logs(
    run: RunId,
    job: Annotated[str | None, typer.Option(help="Only the job with this key, as `test (3.12)`.")] = None,
    attempt: Annotated[int | None, typer.Option(min=1, help="Of that job; the newest if absent.")] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", "-f", help="Stay until the run is over; exits 1 when it did not succeed."),
    ] = False,
) -> None:
    """Print the log of a run. Of its control characters only colours reach the terminal."""
    if attempt is not None and job is None:
        raise WrongUsage("--attempt is of a job", "name it with --job")
    print_log(api(), run, (job, attempt), follow=follow)


@app.command()
def cancel(run: RunId, as_json: AsJson = False) -> None:
    """Stop what runs and what waits."""
    answer = api().post(f"/runs/{run}/cancel")
    if as_json or "kind" in answer:
        _tell(answer, f"cancelling run {run}", as_json=as_json)
    else:
        say(
            f"run {answer['id']} ({one_line(answer['pipeline'])} #{answer['number']}): "
            f"{'cancelling' if _is_going_on(answer) else answer['status']}"
        )


@app.command()
def approve(run: RunId, as_json: AsJson = False) -> None:
    """Let a run of a pull request from a fork start. Read its code before: it runs on your cluster."""
    _tell(api().post(f"/runs/{run}/approve"), f"approval of run {run}", as_json=as_json)


@app.command()
def retry(
    run: RunId,
    failed_only: Annotated[
        bool, typer.Option("--failed-only", help="Carry over the jobs that succeeded.")
    ] = False,
    latest: Annotated[bool, typer.Option("--latest", help="With the pipeline's newest revision.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run it again: a new run. Two retries make one; exits 1 when that one is over already."""
    status, found = api().exchange(
        "POST", f"/runs/{run}/retry", {"only": "failed" if failed_only else "all", "latest": latest}
    )
    if status != HTTPStatus.OK:
        _tell(found, f"retry of run {run}", as_json=as_json)
        return
    if as_json:
        print_json(found)
    again = "" if _is_going_on(found) else f"; to try that one again: towpath runs retry {found['id']}"
    warn(f"run {run} was retried already, as run {found['id']} ({found['status']}){again}")
    if again:
        raise typer.Exit(FAILED)


def _tell(answer: dict[str, Any], done: str, *, as_json: bool) -> None:
    """Print the result. `answer` is the run, or the command if it had no effect within two seconds."""
    if as_json:
        print_json(answer)
    elif "kind" in answer:
        print_fields([(done, f"is accepted and will be done (command {answer['id']})")])
    else:
        print_fields(
            [(done, f"run {answer['id']} ({answer['pipeline']} #{answer['number']}) is {answer['status']}")]
        )


def _is_going_on(run: Row) -> bool:
    return run["status"] in {"pending", "running"}
