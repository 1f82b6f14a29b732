"""Fills the secrets into a job when its attempt starts. Pure.

Values that have a secret stay apart from the job, because they are stored and passed on differently.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.expressions import (
    REDUCED,
    ExpressionError,
    names,
    parse_template,
    reduce_template,
    render,
)
from shared.pipeline.errors import quotable
from shared.pipeline.expansion import STEP_NAMES, ConfigInvalid
from shared.pipeline.fields import field_at
from shared.pipeline.grammar import JOB
from shared.pipeline.model import Job

VALUE_LIMIT_BYTES = 100 << 10
"""Linux allows 128 KiB for one variable with its name."""

Variables = dict[str, str]


@dataclass(frozen=True, slots=True)
class SecretVariables:
    """The variables that have secrets, by name. They take precedence over others of their level."""

    job: Variables = field(default_factory=dict, repr=False)
    """The variables of all steps."""
    steps: dict[int, Variables] = field(default_factory=dict, repr=False)
    """By the index of the step, from 0."""
    services: dict[str, Variables] = field(default_factory=dict, repr=False)

    def __bool__(self) -> bool:
        return bool(self.job or self.steps or self.services)


def claimed(job: Job, secrets: Mapping[str, str]) -> tuple[Job, SecretVariables]:
    """Return the job without expressions that name secrets, and the variables that have them.

    A listed secret without a value is not set, and is the empty text in expressions. A step's variable that
    also names what is known only when the step runs keeps its expression; the secret is filled into it.
    Raises ConfigInvalid; the error has no value of a secret.
    """
    found = SecretVariables(job={name: secrets[name] for name in job.secrets if name in secrets})
    left: dict[str, str] = {}
    for path, text in job.templates.items():
        used = {name.context for name in names(parse_template(text, REDUCED))}
        if "secrets" not in used:
            left[path] = text
            continue
        value = _filled(path, text, secrets, is_complete=used == {"secrets"})
        if used == {"secrets"}:
            _set(found, path, value)
        else:
            left[path] = value
    return job.model_copy(update={"templates": left}), found


def _filled(path: str, text: str, secrets: Mapping[str, str], *, is_complete: bool) -> str:
    """Return the value, or, if it is not complete, the template that is left. Raises ConfigInvalid."""
    contexts = {"secrets": dict(secrets)}
    where = f"`{path}: {quotable(text, 120)}`"
    try:
        if not is_complete:
            return reduce_template(text, contexts, STEP_NAMES, limits=REDUCED)
        value = render(parse_template(text, REDUCED), contexts)
    except ExpressionError:  # its message may have the value
        raise ConfigInvalid(f"{where} can't be evaluated with the values of these secrets.") from None
    size = len(value.encode())
    if size > VALUE_LIMIT_BYTES:
        raise ConfigInvalid(
            f"{where} became a text of {size >> 10} KiB; a variable has at most {VALUE_LIMIT_BYTES >> 10}."
        )
    return value


def _set(found: SecretVariables, path: str, value: str) -> None:
    *level, name = field_at(JOB, path).place
    match level:
        case ["steps", int(index), *_]:
            found.steps.setdefault(index, {})[str(name)] = value
        case ["services", str(service), *_]:
            found.services.setdefault(service, {})[str(name)] = value
        case _:
            found.job[str(name)] = value
