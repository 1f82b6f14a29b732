"""Checks the uses of secrets in a document, beyond the rules of all contexts.

Secrets are known when a job's attempt starts. What is evaluated before that, such as the job's `image`, can
use neither a secret nor a variable of the job that is made from one.
"""

from collections.abc import Mapping
from typing import Any

from shared.expressions import ExpressionProblem, Phase, names
from shared.pipeline.errors import Path, Spot
from shared.pipeline.rules import Reading, Written

Values = Mapping[str, Any]


def may_have_secrets(path: Path) -> bool:
    """Return True for `env` of a job, of its steps and of its services."""
    if path[0] != "jobs":
        return False
    return path[2:3] == ("env",) or (path[2:3] in (("steps",), ("services",)) and path[4:5] == ("env",))


def refuse_secrets(job: str, values: Values, written: Mapping[Path, Written], reading: Reading) -> None:
    """Record a problem for each use of a secret that has no value, or that could not be told from another."""
    listed = [name for name in values.get("secrets") or [] if name]
    _check_list(job, listed, values, reading)
    made_of_secrets = {
        str(path[1])
        for path, one in written.items()
        if path[0] == "env" and any(name.context == "secrets" for name in names(one.parsed))
    }
    for path, one in written.items():
        for problem in _uses(path, one, made_of_secrets):
            reading.refuse_expression(Spot(("jobs", job, *path), one.place), one.text, problem)


def _check_list(job: str, listed: list[str], values: Values, reading: Reading) -> None:
    where: Path = ("jobs", job, "secrets")
    for index, name in enumerate(listed):
        spot = Spot((*where, index), reading.places.get((*where, index), reading.places[where]))
        if name in listed[:index]:
            reading.refuse(spot, "duplicate_secret", f'"{name}" is listed twice')
        elif name in (values.get("env") or {}):
            reading.refuse(
                spot,
                "duplicate_variable",
                f"`env` of this job sets {name} too",
                "A secret is a variable of this name already. Give one of them another name.",
            )


def _uses(path: Path, one: Written, made_of_secrets: set[str]) -> list[ExpressionProblem]:
    at_step = one.phase is Phase.STEP and path[0] == "steps"
    found = []
    for name in names(one.parsed):
        if name.context == "secrets" and (not name.path or name.path[0] is None):
            message = "a secret is used by its name only, such as `secrets.DEPLOY_KEY`"
            found.append(ExpressionProblem(name.offset, name.length, "computed_secret", message, None))
        if name.context == "env" and name.path and name.path[0] in made_of_secrets and not at_step:
            message = f"`{name.text}` has a secret, which is known only in `env`, and in conditions of steps"
            hint = "Use the secret in `env` itself."
            found.append(ExpressionProblem(name.offset, name.length, "made_of_secret", message, hint))
    return found
