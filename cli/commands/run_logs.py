"""Prints logs: stored logs as text, growing logs from the event stream.

After a lost connection the stream continues at the last event received.
"""

import json
import random
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import typer

from ..client import Client
from ..errors import FAILED, CommandError, Refused, Unreachable
from ..output import say, warn
from ..sanitize import log_line, one_line
from ..settings import is_coloured
from ..sse import ServerSentEvent, events

LAST_EVENT_ID = "Last-Event-ID"
MOST_TRIES = 10
MOST_JOBS = 30
"""Jobs that an error lists."""
GOING_ON = {"pending", "running"}
SUCCEEDED = {"success", "skipped"}

_STEP_ENDS: dict[object, str] = {"timed_out": "timed out", "cancelled": "stopped"}
"""Outcomes of steps that need another text than the exit code."""

Choice = tuple[str | None, int | None]
"""The job and the attempt whose log is printed. None selects all."""


def print_log(client: Client, run: int, choice: Choice, *, follow: bool) -> None:
    """Print the log of a run. With `follow`, raises typer.Exit(1) if the run did not succeed.

    Raises CommandError if the run has no job with this key.
    """
    if choice[0] is not None:
        _require_job(client.get(f"/runs/{run}"), choice[0])
    if not follow:
        _print_whole(client, run, choice)
        return
    status, reason = _follow(client, run, choice)
    _tell(run, status, reason)
    if status not in SUCCEEDED:
        raise typer.Exit(FAILED)


def _require_job(found: dict[str, Any], job: str) -> None:
    """Raise CommandError if the run has no job with this key. The jobs of a matrix are listed alone."""
    keys = [str(one.get("key") or one["name"]) for one in found["jobs"]]
    if job not in keys:
        of_matrix = [key for key in keys if key.startswith(f"{job} (")]
        shown = ", ".join(f'"{one_line(key)}"' for key in (of_matrix or keys)[:MOST_JOBS])
        raise CommandError(f'run {found["id"]} has no job "{one_line(job)}"', f"it has {shown}")


def _print_whole(client: Client, run: int, choice: Choice) -> None:
    """Print the log as it is now.

    At a terminal, the complete log of a run that has ended is printed with the names of its steps. Otherwise
    the stored text is printed.
    """
    found = client.get(f"/runs/{run}")
    status, reason = one_line(str(found["status"])), found["reason"]
    if found["log_complete"] and status not in GOING_ON and choice == (None, None) and sys.stdout.isatty():
        status, reason = _follow(client, run, choice)
    else:
        _print_stored(client, run, choice)
    _tell(run, status, reason)


def _tell(run: int, status: str, reason: str | None) -> None:
    warn(f"run {run}: {status}" + (f" ({one_line(reason)})" if reason else ""))


def _print_stored(client: Client, run: int, choice: Choice) -> None:
    coloured = is_coloured(sys.stdout.isatty())
    with client.open("GET", f"/runs/{run}/logs", query={"job": choice[0], "attempt": choice[1]}) as response:
        for raw in response:
            say(log_line(raw.decode("utf-8", "replace"), coloured=coloured))


def _follow(client: Client, run: int, choice: Choice) -> tuple[str, str | None]:
    """Print the log until the run has ended, and return the run's status and reason."""
    coloured = is_coloured(sys.stdout.isatty())
    for event in reconnecting(lambda last_id: _stream(client, run, last_id)):
        data = json.loads(event.data)
        if event.kind == "end":
            return one_line(str(data["status"])), data.get("reason")
        if event.kind == "status" and data["status"] in GOING_ON:
            warn(f"run {run}: {one_line(str(data['status']))}")
        elif event.kind in {"lines", "step"} and _is_wanted(data, choice):
            _print_event(event.kind, data, with_job=choice[0] is None, coloured=coloured)
    raise Unreachable(
        "the log broke off before the run was over", f"go on with: towpath runs logs {run} --follow"
    )


def _print_event(kind: str, data: dict[str, Any], *, with_job: bool, coloured: bool) -> None:
    prefix = f"{one_line(data['job'])} | " if with_job else ""
    if kind == "lines":
        for line in data["lines"]:
            say(prefix + log_line(line, coloured=coloured))
    elif data["phase"] == "begin":
        say(f"{prefix}--- {one_line(str(data.get('name') or data['index']))}")
    elif said := _STEP_ENDS.get(data.get("outcome")):
        say(f"{prefix}--- {said}")
    elif data.get("exit_code"):
        say(f"{prefix}--- exit code {data['exit_code']}")
    sys.stdout.flush()


def _is_wanted(data: dict[str, Any], choice: Choice) -> bool:
    job, attempt = choice
    return (job is None or data["job"] == job) and (attempt is None or data["attempt"] == attempt)


def _stream(client: Client, run: int, last_id: str) -> Iterator[ServerSentEvent]:
    headers = {"Accept": "text/event-stream", **({LAST_EVENT_ID: last_id} if last_id else {})}
    with client.open("GET", f"/runs/{run}/logs/stream", headers=headers) as response:
        yield from events(response, last_id)


def reconnecting(
    connect: Callable[[str], Iterator[ServerSentEvent]], sleep: Callable[[float], None] = time.sleep
) -> Iterator[ServerSentEvent]:
    """Yield every event once, over as many connections as necessary, until an event named `end`.

    Raises Unreachable after MOST_TRIES failures in a row without an event.
    """
    last_id, failures = "", 0
    while True:
        try:
            for event in connect(last_id):
                last_id, failures = event.id, 0
                yield event
                if event.kind == "end":
                    return
            why = "the stream ended"
        except Unreachable as error:
            why = error.message
            lost = error
        except Refused as error:
            if error.status < 500:
                raise
            why, lost = error.message, Unreachable(error.message)
        else:
            lost = Unreachable("the stream ended before the run was over")
        failures += 1
        if failures >= MOST_TRIES:
            raise lost
        warn(f"towpath: {one_line(why)}; trying again")
        sleep(min(5.0, 0.25 * 2**failures) * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret
