"""Prints a run for `towpath runs show`: its jobs, why they ended as they did, their outputs and steps."""

import sys
from collections.abc import Sequence
from typing import Any

from ..output import Column, Row, instant, key, print_fields, print_table, say, short_instant, warn
from ..sanitize import one_line

LONGEST_OUTPUT = 200
"""Characters of an output that are printed. `--json` prints all of them."""


def print_run(run: dict[str, Any]) -> None:
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
            ("trusted", _trust(run)),
            ("approval", _approval(run)),
            ("created", instant(run["created_at"])),
            ("started", instant(run["started_at"])),
            ("finished", instant(run["finished_at"])),
            ("log", _log(run)),
            ("trace", run.get("trace_id")),
        ]
    )
    say("")
    _print_jobs(run["jobs"])
    _print_notes(run["jobs"])
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


def _print_jobs(jobs: Sequence[Row]) -> None:
    """Print a line for each job. Columns that would be empty are left out."""
    columns: list[Column] = [("job", _key)]
    if any(_title(job) for job in jobs):
        columns.append(("title", _title))
    if any(_matrix(job) for job in jobs):
        columns.append(("matrix", _matrix))
    columns += [("status", key("status")), ("reason", key("reason"))]
    if any(_waits(job) for job in jobs):
        columns.append(("waits for", _waits))
    spare = set() if any(_is_cut(job) for job in jobs) else {"matrix"}
    print_table(jobs, [*columns, ("attempts", _attempts)], "no jobs", spare=spare)


def _print_notes(jobs: Sequence[Row]) -> None:
    """Print what the line of a job has no room for."""
    if explained := [job for job in jobs if _message(job)]:
        say("")
        print_table(explained, [("job", _key), ("message", _message)])
    outputs = [
        {"job": _key(job), "output": name, "value": _shortened(value)}
        for job in jobs
        for name, value in (job.get("outputs") or {}).items()
    ]
    if outputs:
        say("")
        print_table(outputs, [("job", key("job")), ("output", key("output")), ("value", key("value"))])


def _print_steps(run: dict[str, Any]) -> None:
    """Print the steps. At a terminal, job and attempt are printed only once for all of their steps."""
    steps: list[Row] = []
    for job in run["jobs"]:
        for attempt in job["attempts"]:
            place = {"job": _key(job), "attempt": attempt["number"]}
            for index, step in enumerate(attempt["steps"]):
                is_repeated = index > 0 and sys.stdout.isatty()
                steps.append((dict.fromkeys(place, "") if is_repeated else place) | step)
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


def _key(job: Row) -> str:
    """Return what identifies the job in its run. A gateway of an earlier version shows only its name."""
    return str(job.get("key") or job["name"])


def _title(job: Row) -> str | None:
    return None if job["name"] == _key(job) else str(job["name"])


def _matrix(job: Row) -> str | None:
    values = job.get("matrix") or {}
    return ", ".join(f"{name}={value}" for name, value in values.items()) or None


def _is_cut(job: Row) -> bool:
    """Return True if the job's key does not have the values of its matrix in full."""
    values = job.get("matrix") or {}
    return bool(values) and not _key(job).endswith(f"({', '.join(values.values())})")


def _message(job: Row) -> str | None:
    """Return what is to be known about the job's end. A skipped job has at least its condition."""
    parts = []
    if job.get("allow_failure") and job["status"] == "failed":
        parts.append("Allowed to fail.")
    if job.get("flaky"):
        parts.append("Flaky: it succeeded after its own code had failed.")
    if said := job["message"] or (job.get("condition") if job["status"] == "skipped" else None):
        parts.append(said)
    return " ".join(parts) or None


def _shortened(value: str) -> str:
    return value if len(value) <= LONGEST_OUTPUT else f"{value[:LONGEST_OUTPUT]}… ({len(value)} characters)"


def _warnings(run: Row) -> dict[str, list[str]]:
    """Return each warning with the names of the jobs that have it."""
    found: dict[str, list[str]] = {}
    for job in run["jobs"]:
        for text in dict.fromkeys(
            text for attempt in job["attempts"] for text in attempt.get("warnings", ())
        ):
            found.setdefault(text, []).append(_key(job))
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


def _trust(run: Row) -> str | None:
    """Return a line for untrusted runs. A gateway of an earlier version says nothing about trust."""
    return None if run.get("trusted", True) else f"no. {run['trust']}"


def _approval(run: Row) -> str | None:
    approval = run.get("approval")
    if approval is None:
        return None
    if approval["state"] == "waiting":
        return f"waiting until {short_instant(approval['expires_at'])}: towpath runs approve {run['id']}"
    by = f" by user {approval['approved_by']}" if approval["approved_by"] is not None else ""
    return f"{approval['state']}{by}"


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
