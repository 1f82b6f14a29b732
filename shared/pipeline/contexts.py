"""Checks the expressions of a document: each may use the contexts of its phase, and names that exist.

The phases are in `shared.expressions.phases`. The names depend on the document: the axes of a job's matrix,
the jobs that it needs with their outputs, the ids of earlier steps.
"""

from collections.abc import Mapping
from typing import Any

from shared.events import FIELDS
from shared.expressions import Expression, Phase, names, problems
from shared.pipeline.errors import BadValue, Path, Spot
from shared.pipeline.grammar import STATIC
from shared.pipeline.rules import OPENING, OTHERS, Reading, Written, place_in

Values = Mapping[str, Any]
Known = dict[str, Any]

PHASES: Mapping[Phase, frozenset[str]] = {
    Phase.EVENT: frozenset({"event", "inputs", "matrix", "env"}),
    Phase.READY: frozenset({"event", "inputs", "matrix", "env", "needs"}),
    Phase.STEP: frozenset({"event", "inputs", "matrix", "env", "needs", "steps"}),
}
"""The contexts that each phase has."""

_STEP_FIELDS = ("outcome", "conclusion", "outputs")
_AS_VARIABLE = (
    'Give the step a variable, env: {{ NAME: "${{{{ {text} }}}}" }}, and write "$NAME" in the script.'
)


def of_pipeline(reading: Reading) -> dict[Path, Written]:
    """Return the values with expressions that belong to no job, by path."""
    return {path: one for path, one in reading.written.items() if path[0] not in ("jobs", "defaults")}


def by_job(document: Values, reading: Reading) -> dict[str, dict[Path, Written]]:
    """Return for each job its values with expressions, by their path below the job.

    A value of `defaults` belongs to each job that does not set it.
    """
    jobs: Mapping[str, Values | None] = document.get("jobs") or {}
    found: dict[str, dict[Path, Written]] = {name: {} for name in jobs}
    inherited = {path[1:]: one for path, one in reading.written.items() if path[0] == "defaults"}
    for path, one in reading.written.items():
        if path[0] == "jobs" and len(path) > 2 and path[1] in found:
            found[str(path[1])][path[2:]] = one
    for name, job in jobs.items():
        for path, one in inherited.items():
            if not _is_set(job, path):
                found[name][path] = one
    return found


def check(document: Values, reading: Reading) -> None:
    """Record a problem for each expression that uses something that it can not use."""
    env = _names_of(document.get("env"))
    known: Known = {"event": dict.fromkeys(FIELDS), "inputs": {}, "env": dict.fromkeys(env)}
    for path, one in of_pipeline(reading).items():
        _check(path, one, known, reading)
    jobs = document.get("jobs") or {}
    for name, written in by_job(document, reading).items():
        of_job = known | _known_to(jobs[name] or {}, jobs)
        for path, one in written.items():
            _check(
                ("jobs", name, *path), one, of_job | _known_at(path, jobs[name] or {}, known["env"]), reading
            )


def _is_set(job: Values | None, path: Path) -> bool:
    value: Any = job
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _names_of(table: Any) -> list[str]:
    return list(table) if isinstance(table, Mapping) else []


def _known_to(job: Values, jobs: Mapping[str, Values | None]) -> Known:
    """Return the names of the contexts that depend on the job."""
    matrix = job.get("matrix") or {}
    axes = [*_names_of(matrix.get(OTHERS)), *(name for entry in matrix.get("include") or [] for name in entry or {})]
    needs = [name for name in job.get("needs") or [] if name in jobs]
    return {
        "matrix": dict.fromkeys(axes),
        "needs": {name: _known_of_need(jobs[name] or {}) for name in needs},
    }


def _known_of_need(job: Values) -> Known:
    outputs = dict.fromkeys(_names_of(job.get("outputs")))
    return {"result": None, "outputs": None if job.get("matrix") else outputs}


def _known_at(path: Path, job: Values, pipeline_env: Known) -> Known:
    """Return the names that depend on the place: earlier steps, and variables that are set before."""
    steps = job.get("steps") or []
    earlier = steps[: path[1]] if path[0] == "steps" and isinstance(path[1], int) else steps
    ids = [step["id"] for step in earlier if step and step.get("id")]
    known: Known = {"steps": {step_id: {"outcome": None, "conclusion": None, "outputs": None} for step_id in ids}}
    if path[0] in ("env", "matrix", "name"):
        return known | {"env": pipeline_env}
    if path[0] == "steps" or path[0] == "outputs":
        return known | {"env": None}
    return known | {"env": pipeline_env | dict.fromkeys(_names_of(job.get("env")))}


def _check(path: Path, one: Written, known: Known, reading: Reading) -> None:
    allowed = PHASES[one.phase] if one.only is None else one.only
