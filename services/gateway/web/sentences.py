"""Sentences about runs and jobs, for people: the status and why. Pure.

Runs and jobs are the JSON objects of the API.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.statuses import TERMINAL, Reason, Status, WaitingFor

Json = Mapping[str, Any]

WORDS: Mapping[str, str] = {
    Status.PENDING: "Waiting",
    Status.RUNNING: "Running",
    Status.SUCCESS: "Succeeded",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
    Status.ERROR: "Error",
    Status.SKIPPED: "Skipped",
}
"""The word for each status."""

REASONS: Mapping[str, str] = {
    Reason.SCRIPT_FAILED: "its script failed",
    Reason.TIMED_OUT: "it took longer than its timeout",
    Reason.OOM_KILLED: "it used more memory than it may",
    Reason.SERVICE_FAILED: "one of its services failed",
    Reason.EVICTED: "the cluster evicted it",
    Reason.PREEMPTED: "the cluster gave its place to something more important",
    Reason.NODE_LOST: "its node was lost",
    Reason.IMAGE_MISSING: "its image does not exist",
    Reason.IMAGE_AUTH: "the registry refuses access to its image",
    Reason.IMAGE_REGISTRY: "the registry of its image does not answer",
    Reason.UNSCHEDULABLE: "no node can run it",
    Reason.QUOTA: "the namespace's quota is used up",
    Reason.START_TIMED_OUT: "it did not start in time",
    Reason.CONFIG_INVALID: "the cluster refuses its definition",
    Reason.CLONE_FAILED: "its repository could not be cloned",
    Reason.LOST: "it disappeared from its cluster",
    Reason.PLATFORM: "Towpath itself failed",
    Reason.CANCELLED_BY_USER: "a user cancelled it",
    Reason.SUPERSEDED: "a newer run took its place",
    Reason.REJECTED: "its approval was rejected",
    Reason.FAIL_FAST: "another job of its matrix failed",
    Reason.DEPENDENCY_FAILED: "a job that it needs did not succeed",
    Reason.CONDITION_FALSE: "its condition is false",
}
"""The meaning of each reason."""

WAITING: Mapping[str, str] = {
    WaitingFor.APPROVAL: "waits for approval",
    WaitingFor.DEPENDENCY: "waits for the jobs that it needs",
    WaitingFor.SLOT: "waits for a free slot",
    WaitingFor.GROUP: "waits for a place in its concurrency group",
    WaitingFor.MAX_PARALLEL: "waits for another job of its matrix",
    WaitingFor.QUOTA: "waits for room in the namespace's quota",
    WaitingFor.NODE: "waits for a node with room",
    WaitingFor.IMAGE: "waits for its image",
    WaitingFor.RETRY_BACKOFF: "waits before its next attempt",
}
"""The words for each wait of a pending job."""

EVENTS: Mapping[str, str] = {
    "push": "push",
    "tag": "tag",
    "pull_request": "pull request",
    "schedule": "schedule",
    "manual": "started by hand",
}

OUTCOMES: Mapping[str, str] = {
    "run": "Runs",
    "not_matched": "Does not match",
    "skipped": "Skipped",
    "untrusted": "Not trusted",
    "superseded": "Superseded",
    "not_allowed": "Not allowed",
    "filtered": "Filtered by paths",
    "ref_gone": "Its branch or tag is gone",
}
"""Decisions about an event, in words."""


def outcome(code: str) -> str:
    return OUTCOMES.get(code, code.replace("_", " ").capitalize())


def word(status: str) -> str:
    return WORDS.get(status, status)


def person(triggered_by: str) -> str:
    """Return who started a run: mona for github:mona."""
    kind, _, name = triggered_by.rpartition(":")
    if kind.endswith("user"):
        return f"user {name}"
    return name or triggered_by


def step_that_failed(job: Json) -> tuple[int, Json] | None:
    """Return number and step of the failed step of a job's last attempt."""
    attempts = job["attempts"]
    for number, step in enumerate(attempts[-1]["steps"] if attempts else (), 1):
        if step["outcome"] in {"failed", "timed_out"}:
            return number, step
    return None


def job_sentence(job: Json) -> str:
    """Return why a job has its status, as a sentence without the job's name. Empty after a plain success."""
    status = job["status"]
    if status == Status.PENDING:
        return _waits(job)
    if status == Status.SUCCESS:
        return "succeeded only after an earlier attempt had failed" if job["flaky"] else ""
    if status not in TERMINAL or job["reason"] is None:
        return ""
    failed = step_that_failed(job)
    if failed is not None and job["reason"] == Reason.SCRIPT_FAILED:
        code = failed[1]["exit_code"]
        ended = "failed" if code is None else f"exited {code}"
        return f"step {_step_name(failed)} {ended}"
    said = REASONS.get(job["reason"], job["reason"])
    if failed is not None and job["reason"] == Reason.TIMED_OUT:
        said = f"step {_step_name(failed)}: {said}"
    return f"{said}: {job['message']}" if job["message"] else said


def _step_name(failed: tuple[int, Json]) -> str:
    number, step = failed
    return f"“{step['name']}”" if step["name"] else str(number)


def _waits(job: Json) -> str:
    said = WAITING.get(job["waiting_for"] or "", "waits to start")
    place = job["place"]
    if place:
        what = "run" if job["waiting_for"] == WaitingFor.GROUP else "job"
        said += f"; {place} {what}{'' if place == 1 else 's'} before it"
    return f"{said}: {job['message']}" if job["message"] else said


def run_sentence(run: Json) -> str:
    """Return a run's status and the reason for it, in a sentence."""
    jobs: Sequence[Json] = run["jobs"]
    status = run["status"]
    if status == Status.SUCCESS:
        passed = sum(job["status"] == Status.SUCCESS for job in jobs)
        return f"Succeeded: {_count(passed, 'job')}."
    if status == Status.RUNNING:
        active = [job["name"] for job in jobs if job["status"] == Status.RUNNING]
        done = sum(job["status"] in TERMINAL for job in jobs)
        names = f": {_names(active)}" if active else ""
        return f"Running{names}. {done} of {_count(len(jobs), 'job')} ended."
    if status == Status.PENDING:
        first = next((job for job in jobs if job["status"] == Status.PENDING), None)
        return "Waiting." if first is None else f"Waiting: job {first['name']} {_waits(first)}."
    worst = next((job for job in jobs if job["status"] == status and job["reason"] == run["reason"]), None)
    if worst is not None and job_sentence(worst) and status in {Status.FAILED, Status.ERROR}:
        others = sum(job["status"] == status for job in jobs) - 1
        more = f" {_count(others, 'other job')} too." if others else ""
        return f"{word(status)}: job {worst['name']}, {job_sentence(worst)}.{more}"
    reason = REASONS.get(run["reason"] or "")
    return f"{word(status)}: {reason}." if reason else f"{word(status)}."


def reason_of(status: str, reason: str | None) -> str:
    """Return the words for the reason of a run in a list."""
    return REASONS.get(reason or "", "") if status in TERMINAL else ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
