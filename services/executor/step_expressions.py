"""Compiles the expressions of steps that are evaluated while the steps run: conditions, and values of `env`.

The step driver holds what they read in shell variables: outputs, outcomes and conclusions of steps. Only
those that an expression names exist. Environment variables are read as the step would see them.
"""

import shlex
from dataclasses import dataclass

from shared.expressions import (
    REDUCED,
    STATUS_FUNCTIONS,
    Call,
    ExpressionError,
    Node,
    names,
    parse_condition,
    parse_template,
    with_status,
)
from shared.expressions.shell import condition, text
from shared.pipeline.model import Job

_STATUS = {
    "success": "[ $towpath_failed$towpath_stopped = nono ]",
    "failure": "[ $towpath_failed$towpath_stopped = yesno ]",
    "cancelled": "[ $towpath_stopped = yes ]",
    "always": ":",
}
_STORED = {word: f"{word}()" for word in _STATUS}
"""Conditions of pipelines that were stored before conditions were expressions."""
_NOTHING = "towpath_nothing"
"""A variable that is never set: what an expression says of a step that does not exist."""


class StepVariables:
    """Names the shell variables of steps' results, and remembers which of them are needed.

    An output may have characters that no variable's name has, so its variable has a number.
    """

    def __init__(self, job: Job) -> None:
        self._indexes = {step.id: index for index, step in enumerate(job.steps, 1) if step.id is not None}
        self.outputs: dict[tuple[int, str], str] = {}
        """The variable for each pair of a step's index and an output's name."""
        self.outcomes: dict[int, str] = {}
        self.conclusions: dict[int, str] = {}

    @property
    def all(self) -> list[str]:
        return [_NOTHING, *self.outputs.values(), *self.outcomes.values(), *self.conclusions.values()]

    def output(self, step: str, name: str) -> str:
        index = self._indexes.get(step)
        if index is None:
            return _NOTHING
        return self.outputs.setdefault((index, name), f"towpath_output_{len(self.outputs) + 1}")

    def outcome(self, step: str) -> str:
        index = self._indexes.get(step)
        return _NOTHING if index is None else self.outcomes.setdefault(index, f"towpath_outcome_{index}")

    def conclusion(self, step: str) -> str:
        index = self._indexes.get(step)
        return (
            _NOTHING if index is None else self.conclusions.setdefault(index, f"towpath_conclusion_{index}")
        )

    def environment(self, name: str) -> str:
        return _NOTHING if name.startswith("towpath_") else name


@dataclass(frozen=True, slots=True)
class StepCode:
    """The compiled expressions of one step, in `sh`."""

    condition: str
    """A command that succeeds if the step is to run."""
    reads_environment: bool
    """True if the condition needs the environment variables of the step."""
    values: dict[str, tuple[str, str]]
    """For each variable of `env` with an expression: commands, and the shell variable that they set."""
    needs_functions: bool
    """True if the code calls `shared.expressions.shell.FUNCTIONS`."""


def compile_step(job: Job, index: int, variables: StepVariables) -> StepCode:
    """Compile the expressions of the step with this index, which counts from 1.

    Raises ValueError for an expression that the driver cannot evaluate. Such a pipeline is refused when it is
    saved.
    """
    place = f"steps.{index - 1}"
    written = job.templates.get(f"{place}.if", job.steps[index - 1].condition)
    try:
        node = with_status(parse_condition(_STORED.get(written, written), REDUCED))
        status = _status(node)
        code = condition(node, variables) if status is None else status
        prefix = f"{place}.env."
        values = {
            path.removeprefix(prefix): _value(template, number, variables)
            for number, (path, template) in enumerate(job.templates.items(), 1)
            if path.startswith(prefix)
        }
    except ExpressionError as error:
        raise ValueError(f"jobs.{job.name}.{place}: {error}") from error
    reads_environment = any(name.context == "env" for name in names(node))
    return StepCode(code, reads_environment, values, status is None or bool(values))


def keep(job: Job, variables: StepVariables) -> str:
    """Return the function that keeps one output of the step towpath_index: $1 its name, $2 its value.

    What the job's `outputs` are made from is also written to descriptor 5, for `step_outputs`.
    """
    kept = "".join(
        f"{index}-{shlex.quote(name)}) {variable}=$2 ;;\n"
        for (index, name), variable in variables.outputs.items()
    )
    sent = "".join(
        f"{index}-{'*' if name is None else shlex.quote(name)}) "
        f'printf \'%s\\0%s\\0%s\\0\' {shlex.quote(step)} "$1" "$2" >&5 ;;\n'
        for index, step, name in _sent(job)
    )
    cases = [f"case $towpath_index-$1 in\n{cases}*) ;;\nesac" for cases in (kept, sent)]
    return "\n".join(["towpath_keep() {", *cases, "}"])


def _sent(job: Job) -> list[tuple[int, str, str | None]]:
    """Return index, step's id and name of the outputs that the job's `outputs` name.

    The name is None if all outputs of the step may be needed.
    """
    paths = [
        name.path
        for template in job.outputs.values()
        for name in names(parse_template(template, REDUCED))
        if name.context == "steps"
    ]
    sent: dict[tuple[int, str, str | None], None] = {}
    for index, step in enumerate(job.steps, 1):
        for path in paths:
            if step.id is None or path[:1] not in {(step.id,), (None,), ()}:
                continue
            match path[1:]:
                case (str(key), *_) if key != "outputs":
                    continue  # an outcome
                case (_, str(name), *_):
                    sent[index, step.id, name] = None
                case _:
                    sent[index, step.id, None] = None
    return list(sent)


def _value(template: str, number: int, variables: StepVariables) -> tuple[str, str]:
    variable = f"towpath_env_{number}"
    return text(parse_template(template, REDUCED), variables, variable), variable


def _status(node: Node) -> str | None:
    """Return the short code of a condition that is only a status function."""
    if isinstance(node, Call) and node.function in STATUS_FUNCTIONS:
        return _STATUS[node.function]
    return None
