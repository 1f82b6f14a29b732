"""Checks the expressions of a document: each may use the contexts of its phase, and names that exist.

The phases are in `shared.expressions.phases`. The names depend on the document: the axes of a job's matrix,
the jobs that it needs with their outputs, the ids of earlier steps.
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.events import FIELDS
from shared.expressions import (
    BUILTINS,
    STATUS_FUNCTIONS,
    ExpressionError,
    ExpressionProblem,
    Phase,
    Rules,
    Template,
    expression_size,
    names,
    problems,
)
from shared.expressions.shell import require
from shared.pipeline.compound_rules import OTHERS
from shared.pipeline.errors import Path, Spot, path_text, quotable
from shared.pipeline.grammar import STATIC
from shared.pipeline.rules import Reading, Written
from shared.pipeline.secret_rules import may_have_secrets, refuse_secrets

Values = Mapping[str, Any]
Known = dict[str, Any]

PHASES: Mapping[Phase, frozenset[str]] = {
    Phase.EVENT: frozenset({"event", "inputs", "matrix", "env"}),
    Phase.READY: frozenset({"event", "inputs", "matrix", "env", "needs"}),
    Phase.CLAIM: frozenset({"event", "inputs", "matrix", "env", "needs", "secrets"}),
    Phase.STEP: frozenset({"event", "inputs", "matrix", "env", "needs", "secrets", "steps"}),
}
"""The contexts that each phase has."""

VARIABLES: Mapping[str, str] = {
    "type": "TOWPATH_EVENT",
    "event_name": "TOWPATH_EVENT",
    "action": "TOWPATH_ACTION",
    "repository": "TOWPATH_REPOSITORY",
    "ref": "TOWPATH_REF",
    "branch": "TOWPATH_BRANCH",
    "head_branch": "TOWPATH_BRANCH",
    "head_ref": "TOWPATH_BRANCH",
    "ref_name": "TOWPATH_BRANCH",
    "base_branch": "TOWPATH_BASE_BRANCH",
    "base_ref": "TOWPATH_BASE_BRANCH",
    "tag": "TOWPATH_TAG",
    "sha": "TOWPATH_SHA",
    "before_sha": "TOWPATH_BEFORE_SHA",
    "pull_request": "TOWPATH_PULL_REQUEST",
    "title": "TOWPATH_TITLE",
    "message": "TOWPATH_MESSAGE",
    "sender": "TOWPATH_SENDER",
    "actor": "TOWPATH_SENDER",
}
"""Fields of events, and of GitHub's context `github`, with the variables that scripts find them in."""
SIZE_LIMIT = 20_000
"""Limit for the expressions of a run. The scheduler evaluates them in about half a second."""
_STEP_FIELDS = ("outcome", "conclusion", "outputs")


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


def check(document: Values, counts: Mapping[str, int], reading: Reading) -> None:
    """Record a problem for each expression that uses something that it can not use.

    `counts` has for each job the number of jobs that its matrix gives.
    """
    env = _names_of(document.get("env"))
    known: Known = {
        "event": dict.fromkeys(FIELDS),
        "inputs": dict.fromkeys(_inputs_of(document)),
        "env": dict.fromkeys(env),
        "run": dict.fromkeys(("id", "number")),
        "job": dict.fromkeys(("key", "name", "attempt")),
    }
    for path, one in of_pipeline(reading).items():
        _check(path, one, known, reading)
    jobs = document.get("jobs") or {}
    of_defaults = dict.fromkeys(_names_of((document.get("defaults") or {}).get("env")))
    size = 0
    for name, written in by_job(document, reading).items():
        size += counts[name] * sum(expression_size(one.parsed) for one in written.values())
        of_job = known | _known_to(jobs[name] or {}, jobs)
        refuse_secrets(name, jobs[name] or {}, written, reading)
        for path, one in written.items():
            _check(
                ("jobs", name, *path),
                one,
                of_job | _known_at(path, jobs[name] or {}, known["env"], of_defaults),
                reading,
            )

    if size > SIZE_LIMIT:
        message = f"the expressions of all jobs have {size} names, values and operators; at most {SIZE_LIMIT}"
        hint = "Those of a matrix count for each of its jobs. Shorten them, or split the pipeline."
        reading.refuse(Spot(("jobs",), reading.places[("jobs",)]), "too_large", message, hint)


def _is_set(job: Values | None, path: Path) -> bool:
    value: Any = job
    for part in path:
        if not isinstance(value, Mapping) or part not in value:
            return False
        value = value[part]
    return True


def _names_of(table: Any) -> list[str]:
    return list(table) if isinstance(table, Mapping) else []


def _inputs_of(document: Values) -> list[str]:
    manual = (document.get("on") or {}).get("manual") or {}
    return _names_of(manual.get("inputs"))


def _known_to(job: Values, jobs: Mapping[str, Values | None]) -> Known:
    """Return the names of the contexts that depend on the job."""
    matrix = job.get("matrix") or {}
    axes = [
        *_names_of(matrix.get(OTHERS)),
        *(name for entry in matrix.get("include") or [] for name in entry or {}),
    ]
    needs = [name for name in job.get("needs") or [] if name in jobs]
    secrets = [name for name in job.get("secrets") or [] if name]
    return {
        "secrets": dict.fromkeys(secrets),
        "matrix": dict.fromkeys(axes),
        "needs": {name: _known_of_need(jobs[name] or {}) for name in needs},
    }


def _known_of_need(job: Values) -> Known:
    outputs = dict.fromkeys(_names_of(job.get("outputs")))
    return {"result": None, "outputs": None if job.get("matrix") else outputs}


def _known_at(path: Path, job: Values, pipeline_env: Known, default_env: Known) -> Known:
    """Return the names that depend on the place: earlier steps, and variables that are set before."""
    steps = job.get("steps") or []
    earlier = steps[: path[1]] if path[0] == "steps" and isinstance(path[1], int) else steps
    ids = [step["id"] for step in earlier if step and step.get("id")]
    fields = ("outputs",) if path[0] == "outputs" else _STEP_FIELDS
    known: Known = {"steps": {step_id: dict.fromkeys(fields) for step_id in ids}}
    if path[0] in ("env", "matrix", "name"):
        return known | {"env": pipeline_env}
    if path[0] == "steps":
        return known | {"env": None}
    return known | {"env": pipeline_env | default_env | dict.fromkeys(_names_of(job.get("env")))}


def _check(path: Path, one: Written, known: Known, reading: Reading) -> None:
    contexts = PHASES[one.phase] if one.only is None else PHASES[one.phase] & one.only | (one.only & STATIC)
    if not may_have_secrets(path):
        contexts -= {"secrets"}
    key = path_text(path[2:] if path[0] == "jobs" else path)
    rules = Rules(one.phase, key, contexts, known, BUILTINS | _functions_at(path, one))
    found = problems(one.parsed, rules)
    if path[2:3] == ("steps",) and path[4:] == ("run",):
        found = [
            problem._replace(hint=_as_variable(problem, one.text))
            if problem.code.startswith("wrong") or one.text.startswith("github.", problem.offset)
            else problem
            for problem in found
        ]
        found += _event_data(path, one, reading)
    for problem in found or _beyond_shell(path, one):
        reading.refuse_expression(Spot(path, one.place), one.text, problem)


def _beyond_shell(path: Path, one: Written) -> list[ExpressionError]:
    """Return the problem of an expression that the step driver, which is a shell, can't evaluate."""
    if one.phase is not Phase.STEP or "steps" not in path[2:3]:
        return []
    try:
        require(one.parsed)
    except ExpressionError as error:
        return [error]
    return []


def _functions_at(path: Path, one: Written) -> frozenset[str]:
    """Return the status functions that a value may use: only conditions have them."""
    if isinstance(one.parsed, Template):
        return frozenset()
    return STATUS_FUNCTIONS if "steps" in path[2:3] else STATUS_FUNCTIONS - {"cancelled"}


def _as_variable(problem: ExpressionProblem, text: str) -> str:
    """Return the hint for a script: the variable that has the value already, or one of the step."""
    written = quotable(text[problem.offset : problem.offset + problem.length], 60)
    context, _, name = written.partition(".")
    if context == "secrets" and name:
        return f'List it in the job, secrets: [{name}], and write "${name}" in the script.'
    if context in ("event", "github") and (variable := VARIABLES.get(name)):
        return f'The environment has it: write "${variable}" in the script.'
    variable = re.sub("[^A-Z0-9]+", "_", name.rpartition(".")[2].upper()).strip("_") or "VALUE"
    env = f'env: {{ {variable}: "${{{{ {written} }}}}" }}'
    return f'Scripts get values as variables: {env} and "${variable}" in the script.'


def _event_data(path: Path, one: Written, reading: Reading) -> list[ExpressionProblem]:
    """Return a problem for each value of a matrix in a script that comes from the event.

    As text of the script it would be a command.
    """
    axes = {
        found[5] if found[3] in ("include", "exclude") else found[3]
        for found in reading.written
        if found[:3] == (*path[:2], "matrix") and len(found) > 4
    }
    return [
        ExpressionProblem(
            name.offset,
            name.length,
            "event_in_script",
            f"`{name.text}` has data of the event, which would become a command of this script",
            'Pass it as a variable: env: { NAME: "${{ matrix.… }}" } and "$NAME" in the script.',
        )
        for name in names(one.parsed)
        if axes and name.context == "matrix" and (not name.path or {name.path[0]} & {None, *axes})
    ]
