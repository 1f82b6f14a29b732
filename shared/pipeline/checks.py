"""Checks across several keys: names that must match, cycles, and sums.

They run on the values that the grammar could read, and record their problems.
"""

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from itertools import islice
from typing import Any

from shared.pipeline import matrix_checks
from shared.pipeline.errors import Path, Spot, quotable
from shared.pipeline.rules import Reading

JOB_LIMIT_BYTES = 512 * 1024
"""Limit for the scripts and variables of one job.

They are stored in one Secret of at most 900 KiB, together with the step driver and secrets.
"""
PLAN_LIMIT_BYTES = 4 * 1024 * 1024
"""Limit for the scripts and variables of all jobs of a run, which one transaction stores."""

Values = Mapping[str, Any]


def check(document: Values, reading: Reading) -> dict[str, int]:
    """Compare the parts of a document with one another. Return how many jobs each job gives.

    Parts that could not be read are None and are skipped.
    """
    jobs: dict[str, Values] = document.get("jobs") or {}
    known = f"Jobs here: {_listed(jobs)}"
    needs = {
        name: _needs(name, (job or {}).get("needs") or [], jobs, known, reading) for name, job in jobs.items()
    }
    for cycle in _cycles(needs):
        spot = _spot(("jobs", cycle[0], "needs"), reading)
        reading.refuse(
            spot,
            "cycle",
            f"these jobs wait for one another: {' → '.join(cycle)}",
            "Remove one of these needs.",
        )
    counts = matrix_checks.check(jobs, reading)
    plan_bytes = 0
    for name, job in jobs.items():
        if job:
            _check_ids(name, job, reading)
            _check_ports(name, job, reading)
            plan_bytes += counts[name] * _check_size(name, job, _shared_env(document), reading)
    if plan_bytes > PLAN_LIMIT_BYTES:
        message = (
            f"scripts and variables of all jobs may have {PLAN_LIMIT_BYTES // 1024**2} MiB together; these "
            f"have {plan_bytes // 1024**2 + 1}"
        )
        reading.refuse(_spot(("jobs",), reading), "too_large", message, "Keep long scripts in files.")
    return counts


def _spot(path: Path, reading: Reading) -> Spot:
    return Spot(path, reading.places[path])


def _needs(
    job: str, names: list[str | None], jobs: Mapping[str, object], known: str, reading: Reading
) -> list[str]:
    """Return the valid needs without duplicates. Record a problem for each of the others.

    `known` is the hint for a job that does not exist.
    """
    sound: list[str] = []
    for index, name in enumerate(names):
        item: Path = ("jobs", job, "needs", index)
        spot = _spot(item if item in reading.places else item[:-1], reading)
        if name is None:
            continue
        if name == job:
            reading.refuse(spot, "self_need", "a job cannot need itself")
        elif name in sound:
            reading.refuse(spot, "duplicate_need", f'"{quotable(name)}" is needed twice')
        elif name not in jobs:
            meant = reading.problems.nearest(name, jobs)
            message = f'there is no job "{quotable(name)}"' + (
                f'. Did you mean "{quotable(meant)}"?' if meant else ""
            )
            reading.refuse(spot, "unknown_job", message, known)
        else:
            sound.append(name)
    return sound


def _listed(jobs: Mapping[str, object]) -> str:
    names = [quotable(name, 63) for name in islice(jobs, 20)]
    return ", ".join(names) + (" …" if len(jobs) > 20 else "")


def _cycles(needs: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """Yield cycles that share no job.

    Each starts at its first job in the document, follows the needs, and ends at that job again.
    """
    order = list(needs)
    graph = dict(needs)
    while True:
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            # graphlib lists a needed job before the job that needs it, and repeats the first job at the end.
            cycle: list[str] = error.args[1][:0:-1]
            start = cycle.index(min(cycle, key=order.index))
            yield [*cycle[start:], *cycle[: start + 1]]
            graph.update({job: [] for job in cycle})
        else:
            return


def _check_ids(name: str, job: Values, reading: Reading) -> None:
    seen: set[str] = set()
    for index, step in enumerate(job.get("steps") or []):
        step_id = (step or {}).get("id")
        if step_id in seen:
            reading.refuse(
                _spot(("jobs", name, "steps", index, "id"), reading),
                "duplicate_id",
                f'another step of this job has the id "{step_id}"',
            )
        elif step_id:
            seen.add(step_id)


def _check_ports(name: str, job: Values, reading: Reading) -> None:
    """Record a problem for each port that two services use. The services of a job share one network."""
    owners: dict[int, str] = {}
    for service, values in (job.get("services") or {}).items():
        port = ((values or {}).get("ready") or {}).get("tcp")
        if port in owners:
            spot = _spot(("jobs", name, "services", service, "ready", "tcp"), reading)
            reading.refuse(
                spot,
                "duplicate_port",
                f'the service "{owners[port]}" of this job has the port {port}',
                "Containers of a job share one network.",
            )
        elif port:
            owners[port] = service


def _shared_env(document: Values) -> Values:
    """Return the variables that all jobs have."""
    return {**(document.get("env") or {}), **((document.get("defaults") or {}).get("env") or {})}


def _check_size(name: str, job: Values, shared_env: Values, reading: Reading) -> int:
    """Record a problem if the job is too large. Return its size in bytes."""
    steps = [step for step in job.get("steps") or [] if step]
    texts = [step.get("run") or "" for step in steps]
    services = [service for service in (job.get("services") or {}).values() if service]
    for env in [shared_env, job.get("env") or {}, *(part.get("env") or {} for part in [*steps, *services])]:
        texts += [*env, *(value or "" for value in env.values())]
    size_bytes = sum(len(text.encode()) for text in texts)
    if size_bytes > JOB_LIMIT_BYTES:
        message = (
            f"scripts and variables of a job may have {JOB_LIMIT_BYTES // 1024} KiB together; these have "
            f"{size_bytes // 1024}"
        )
        reading.refuse(
            _spot(("jobs", name), reading),
            "too_large",
            message,
            "Keep long scripts in files of the repository.",
        )
    return size_bytes
