"""`towpath runs`: lists and shows runs, prints their logs, and cancels or retries them."""

from http import HTTPStatus
from typing import Annotated, Any

import typer

from ..errors import FAILED, WrongUsage
from ..options import AsJson, Limit, RunId, api, pipeline_id
from ..output import (
    Row,
    instant,
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

app = typer.Typer(help="Runs: executions of pipelines.")

_EVENTS = "push, tag or pull_request"


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
        _print_run(found)


@app.command()
def logs(
    run: RunId,
    job: Annotated[str | None, typer.Option(help="Only this job.")] = None,
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


def _print_run(run: dict[str, Any]) -> None:
    origin = run["provenance"]
    delivery = f"{origin['source']} delivery {origin['delivery_id']}" if origin.get("delivery_id") else None
    print_fields(
        [
            ("run", f"{run['id']}: {run['pipeline']} #{run['number']}, revision {run['revision']}"),
            ("status", _with_reason(run)),
            ("stopped for", _stopped_for(run)),
            ("repository", run["repository"]),
            ("event", f"{run['event_id']} {run['event']}"),
            ("branch", run["branch"]),
            ("commit", run["sha"]),
            ("by", run["triggered_by"]),
            ("delivery", delivery),
            ("retry of", run["retry_of"]),
            ("group", _group(run)),
            ("created", instant(run["created_at"])),
            ("started", instant(run["started_at"])),
            ("finished", instant(run["finished_at"])),
            ("log", _log(run)),
            ("trace", run.get("trace_id")),
        ]
    )
    say("")
    columns = [
        ("job", key("name")),
        ("status", key("status")),
        ("reason", key("reason")),
        ("waits for", _waits),
    ]
    print_table(run["jobs"], [*columns, ("attempts", _attempts), ("message", key("message"))], "no jobs")
    for text, jobs in _warnings(run).items():
        warn(one_line(f"warning: {', '.join(jobs)}: {text}"))
    _print_log_gaps(run)
    _print_steps(run)


def _log(run: dict[str, Any]) -> str:
    """Return the state of the run's logs. A gateway of an earlier version does not list gaps."""
    stored = "complete" if run["log_complete"] else "not complete yet"
    return f"{stored}, but lines may be missing" if run.get("log_gaps") else stored


def _print_log_gaps(run: dict[str, Any]) -> None:
    for gap in run.get("log_gaps") or ():
        place = f"{gap['job']}, attempt {gap['attempt']}, {gap['container']}, line {gap['line']}"
        warn(one_line(f"warning: the log of {place}: lines may be missing: {gap['reason']}"))


def _print_steps(run: dict[str, Any]) -> None:
    steps = [
        {"job": job["name"], "attempt": attempt["number"], **step}
        for job in run["jobs"]
        for attempt in job["attempts"]
        for step in attempt["steps"]
    ]
    if steps:
        say("")
        print_table(
            steps,
            [
                ("job", key("job")),
                ("attempt", key("attempt")),
                ("step", key("name")),
                ("outcome", key("outcome")),
                ("exit code", key("exit_code")),
            ],
        )


def _warnings(run: Row) -> dict[str, list[str]]:
    """Return each warning with the names of the jobs that have it."""
    found: dict[str, list[str]] = {}
    for job in run["jobs"]:
        for text in dict.fromkeys(
            text for attempt in job["attempts"] for text in attempt.get("warnings", ())
        ):
            found.setdefault(text, []).append(job["name"])
    return found


def _with_reason(row: Row) -> str:
    return f"{row['status']} ({row['reason']})" if row["reason"] else str(row["status"])


def _stopped_for(run: Row) -> str | None:
    """Return what cancelled a run, such as `run 12` or `command 7`.

    The cause is in the first transition to the run's own status and reason. The job that ended last may have
    succeeded.
    """
    if run["status"] != "cancelled":
        return None
    verdict = ("cancelled", run["reason"])
    return next(
        (
            change["cause"].replace(":", " ")
            for change in run["transitions"]
            if (change["to_status"], change["reason"]) == verdict
        ),
        None,
    )


def _group(run: Row) -> str | None:
    group = run.get("concurrency")
    return None if group is None else f"{group['group']} (at most {group['limit']}, {group['on_new']})"


def _waits(job: Row) -> str | None:
    if job["waiting_for"] is None:
        return None
    if job["place"] is not None:
        return f"{job['waiting_for']}, {job['place']} before it"
    return (
        f"{job['waiting_for']} until {short_instant(job['retry_at'])}"
        if job.get("retry_at")
        else str(job["waiting_for"])
    )


def _attempts(job: Row) -> str:
    if job["carried_from"] is not None:
        return f"carried from job {job['carried_from']}"
    return ", ".join(map(_attempt, job["attempts"])) or "-"


def _attempt(attempt: Row) -> str:
    end = attempt["outcome"] or attempt["status"]
    return (
        f"{attempt['number']} {end} ({attempt['reason']})"
        if attempt["reason"]
        else f"{attempt['number']} {end}"
    )
