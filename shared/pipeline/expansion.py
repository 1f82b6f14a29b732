"""Expansion: the jobs of a run from a pipeline, an event and inputs. Pure, so equal input gives equal jobs.

1. The pipeline's variables are evaluated, then the values of each matrix. A job becomes one job for each
   combination.
2. A job whose condition names nothing that is known later is decided at once.
3. A job none of whose expressions names a needed job gets its final definition. The others get it when their
   needs have ended (`resolved`).
4. In a final definition, only conditions, variables and scripts of steps have expressions. They name only
   what is known when the step runs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from shared.expressions import (
    REDUCED,
    STATUS_FUNCTIONS,
    ExpressionError,
    Node,
    Number,
    Phase,
    Template,
    Value,
    calls,
    evaluate,
    explain,
    names,
    parse_condition,
    parse_template,
    reduce,
    reduce_template,
    render,
    scalar_text,
    to_text,
    truthy,
    with_status,
)
from shared.pipeline.errors import Place, Problems, Spot, quotable
from shared.pipeline.fields import Field, field_at, set_value
from shared.pipeline.grammar import JOB, JOB_LIMIT, MATRIX_VALUE, PIPELINE
from shared.pipeline.inputs import Given
from shared.pipeline.inputs import values as input_values
from shared.pipeline.matrix import combinations, key_of, most, repeated
from shared.pipeline.model import (
    STEP_CONDITION_WORDS,
    Combination,
    Job,
    Matrix,
    MatrixValue,
    Pipeline,
    plain_steps,
)
from shared.pipeline.rules import OPENING, Flag, Reading, Rule, Text
from shared.pipeline.yaml import Scalar, kind_of

Contexts = Mapping[str, Any]
T = TypeVar("T")

STEP_NAMES = frozenset({"steps", "env", *STATUS_FUNCTIONS})
"""Names that are known only when a step runs."""
_SECRETS = frozenset({"secrets"})
"""Contexts that the executor fills in when it starts an attempt. No text with them is stored."""
_OUTPUT = frozenset({"steps"})
"""Contexts that are known only when the steps have ended."""
_FEW_EXPRESSIONS = 50
"""Evaluated in about 10 ms."""
_SCRIPT = frozenset({"run", "job"})
"""Contexts that the executor fills into scripts when it starts an attempt."""


class ConfigInvalid(ValueError):
    """A value with expressions is not valid. The text says which value, what it became, and the fix."""


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job of a run that is about to be created."""

    job: Job
    needs: tuple[str, ...] = ()
    """The keys of the jobs that it needs."""
    problem: str | None = None
    """Why it can't run, for people."""
    condition: str | None = None
    """The decision about its `if`, for people. None if it has none, or if it is decided later."""
    is_skipped: bool = False
    """True if its `if` is false."""


@dataclass(frozen=True, slots=True)
class Expansion:
    jobs: tuple[PlannedJob, ...]
    priority: int = 0
    group: str | None = None
    """The name of the concurrency group. None without one, and if the name could not be evaluated."""


def expand(pipeline: Pipeline, event: Contexts, inputs: Given) -> Expansion:
    """Return the jobs of a run. `inputs` are the values that were given; the others have their defaults.

    Problems of values are those of their jobs. Those of values that all jobs share are those of all jobs.
    """
    contexts: Contexts = {"event": event, "inputs": inputs_of(pipeline, inputs)}
    try:
        env = {**pipeline.env, **_texts(PIPELINE, pipeline.templates, contexts)}
        priority = _priority(pipeline, contexts)
        group = _group(pipeline, contexts)
    except ConfigInvalid as error:
        return Expansion(tuple(PlannedJob(job, job.needs, str(error)) for job in pipeline.jobs))
    planned = [one for job in pipeline.jobs for one in _jobs_of(job, {**contexts, "env": env})]
    if len(planned) > JOB_LIMIT:
        problem = f"The matrices give {len(planned)} jobs; a run has at most {JOB_LIMIT}."
        return Expansion(tuple(PlannedJob(job, job.needs, problem) for job in pipeline.jobs))
    keys: dict[str, list[str]] = {}
    for one in planned:
        keys.setdefault(one.job.id, []).append(one.job.key)
    return Expansion(tuple(_with_needs(one, keys) for one in planned), priority, group)


def is_long(pipeline: Pipeline) -> bool:
    """Return True if `expand` may take longer than an event loop should be held."""
    return sum(map(_expressions_of, pipeline.jobs)) > _FEW_EXPRESSIONS


def _expressions_of(job: Job) -> int:
    """Return a number of expressions that the jobs of this job's matrix never exceed."""
    conditions = sum(step.condition not in STEP_CONDITION_WORDS for step in job.steps)
    one = 1 + len(job.templates) + len(job.outputs) + conditions
    return one * (1 if job.matrix is None else most(job.matrix))


def resolved(job: Job, needs: Contexts) -> Job:
    """Return the final definition of a job whose needs have ended. A final one is returned unchanged.

    Raises ConfigInvalid.
    """
    if not job.contexts:
        return job
    return _final(job, {**_contexts_of(job), "needs": needs})


def condition_of(job: Job, needs: Contexts, functions: Mapping[str, bool]) -> tuple[bool, str]:
    """Evaluate the job's `if`. Return the result, and a sentence that says what decided it."""
    condition = job.condition or "success()"
    contexts = {**_contexts_of(job), "matrix": values_of(job.matrix_values), "needs": needs}
    if _names(parse_condition(condition), "env"):
        contexts["env"] = _environment(job, contexts)
    return _decided(condition, contexts, functions)


def has_status_function(condition: str) -> bool:
    """Return True if the condition decides also about needs that did not succeed."""
    return _has_status_function(parse_condition(condition))


def outputs_of(job: Job, steps: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the job's outputs, made from those of its steps. Raises ConfigInvalid."""
    contexts = {"steps": {step_id: {"outputs": dict(outputs)} for step_id, outputs in steps.items()}}
    return {
        name: _guarded(f"outputs.{name}", text, partial(render, parse_template(text, REDUCED), contexts))
        for name, text in job.outputs.items()
    }


def inputs_of(pipeline: Pipeline, given: Given) -> dict[str, Value]:
    """Return the inputs as expressions see them. One that is not given has its default, or is None.

    The given values are valid for the pipeline. Names that it does not have are left out.
    """
    values = input_values(pipeline, given)
    return {name: None if value is None else _value(value) for name, value in values.items()}


def _storable(contexts: Contexts) -> dict[str, Any]:
    """Return the contexts as JSON can hold them: a number of the inputs would lose its source text."""
    stored = {
        name: {"text": value.text, "kind": "float"} if isinstance(value, Number) else value
        for name, value in contexts["inputs"].items()
    }
    return {**contexts, "inputs": stored}


def _contexts_of(job: Job) -> dict[str, Any]:
    """Return the contexts of a job as expressions see them."""
    contexts = dict(job.contexts)
    for name, value in contexts.get("inputs", {}).items():
        if isinstance(value, Mapping):
            read = _value(MatrixValue.model_validate(value))
            contexts["inputs"] = {**contexts["inputs"], name: read}
    return contexts


def values_of(combination: Combination) -> dict[str, Value]:
    """Return the values of a matrix job as expressions see them."""
    return {name: _value(value) for name, value in combination.items()}


def _value(value: MatrixValue) -> Value:
    if value.kind == "boolean":
        return value.text.lower() == "true"
    if value.kind == "text":
        return value.text
    try:
        return Number(
            float(int(value.text, 0)) if value.text[:2] in ("0o", "0x") else float(value.text), value.text
        )
    except (ValueError, OverflowError):
        return value.text


def _jobs_of(job: Job, contexts: Contexts) -> Iterator[PlannedJob]:
    """Yield the job, or those of its matrix. If the matrix has a problem, yield one job with it."""
    if job.matrix is None:
        yield _planned(job, contexts)
        return
    try:
        found = combinations(_evaluated(job.matrix, contexts))
        if not found:
            raise ConfigInvalid("`matrix`: everything is excluded for this event. Exclude less, or add `if`.")
        keys = [key_of(job.id, combination) for combination in found]
        if (twice := repeated(keys)) is not None:
            raise ConfigInvalid(f"`matrix`: two combinations have the same key, {quotable(twice, 120)}.")
    except ConfigInvalid as error:
        yield PlannedJob(job, job.needs, str(error))
        return
    settings = job.matrix.model_copy(update={"axes": {}, "include": (), "exclude": ()})
    for key, combination in zip(keys, found, strict=True):
        name = key if job.name == job.id else job.name
        of_matrix = {"key": key, "name": name, "matrix": settings, "matrix_values": combination}
        yield _planned(job.model_copy(update=of_matrix), contexts)


def _evaluated(matrix: Matrix, contexts: Contexts) -> Matrix:
    """Return the matrix with its values, so that `include` and `exclude` compare values."""
    axes = {
        name: tuple(_without_expressions(f"matrix.{name}", value, contexts) for value in values)
        for name, values in matrix.axes.items()
    }
    entries = {
        key: tuple(
            {
                name: _without_expressions(f"matrix.{key}.{index}.{name}", value, contexts)
                for name, value in entry.items()
            }
            for index, entry in enumerate(getattr(matrix, key))
        )
        for key in ("include", "exclude")
    }
    return matrix.model_copy(update={"axes": axes, **entries})


def _without_expressions(where: str, value: MatrixValue, contexts: Contexts) -> MatrixValue:
    if OPENING not in value.text:
        return value
    template = parse_template(value.text)
    if template.is_expression_only:
        result = _guarded(where, value.text, lambda: evaluate(template.expressions[0].node, contexts))
        text = scalar_text(result) or ""
        if isinstance(result, bool):
            return MatrixValue(text=text, kind="boolean")
        if isinstance(result, int | float):
            return MatrixValue(text=text, kind="float")
    text = _guarded(where, value.text, lambda: render(template, contexts))
    if len(text) > MATRIX_VALUE.limit:
        raise ConfigInvalid(
            f"`{where}: {quotable(value.text, 120)}` became a text of {len(text)} characters. "
            f"A value of a matrix has at most {MATRIX_VALUE.limit}."
        )
    return MatrixValue(text=text)


def _planned(job: Job, contexts: Contexts) -> PlannedJob:
    """Return the job with everything that is known when its run is created."""
    try:
        job = _named(job, {**contexts, "matrix": values_of(job.matrix_values)})
        is_true, condition = True, None
        if job.condition is not None and not _is_decided_later(job, parse_condition(job.condition)):
            is_true, condition = condition_of(job.model_copy(update={"contexts": contexts}), {}, {})
            job = job.model_copy(update={"condition": None})
        if not is_true:
            return PlannedJob(job, (), None, condition, True)
        is_later = _names_needs(job)
        if not is_later:
            job = _final(job, {**contexts, "needs": {}})
        if is_later or job.condition is not None:
            job = job.model_copy(update={"contexts": _storable(contexts)})
        return PlannedJob(job, (), None, condition)
    except ConfigInvalid as error:
        return PlannedJob(job, (), str(error))


def _with_needs(one: PlannedJob, keys: Mapping[str, Sequence[str]]) -> PlannedJob:
    return replace(one, needs=tuple(key for need in one.job.needs for key in keys[need]))


def _named(job: Job, contexts: Contexts) -> Job:
    """Return the job with its title."""
    if "name" not in job.templates:
        return job
    others = {path: text for path, text in job.templates.items() if path != "name"}
    name = _parsed(field_at(JOB, "name"), job.templates["name"], contexts)
    return job.model_copy(update={"name": name, "templates": others})


def _is_decided_later(job: Job, condition: Node) -> bool:
    """Return True if the condition, or a variable that it may use, depends on the needed jobs."""
    variables = [parse_template(text) for path, text in job.templates.items() if path.startswith("env.")]
    return (
        _has_status_function(condition)
        or _names(condition, "needs")
        or (_names(condition, "env") and any(_names(variable, "needs") for variable in variables))
    )


def _names(text: Node | Template, context: str) -> bool:
    return any(name.context == context for name in names(text))


def _has_status_function(node: Node) -> bool:
    return any(call.function in STATUS_FUNCTIONS for call in calls(node))


def _names_needs(job: Job) -> bool:
    """Return True if an expression of the job names a needed job, so that it is evaluated later."""
    texts: list[Node | Template] = [
        parse_template(text) for text in (*job.templates.values(), *job.outputs.values())
    ]
    conditions = {step.condition for step in job.steps} - STEP_CONDITION_WORDS
    texts += [parse_condition(condition, REDUCED) for condition in conditions]
    return any(_names(text, "needs") for text in texts)


def _final(job: Job, contexts: Contexts) -> Job:
    """Return the job with all values that are known before its steps run. Raises ConfigInvalid."""
    inherited = contexts["env"]
    if (
        not job.templates
        and not job.outputs
        and all(step.condition in STEP_CONDITION_WORDS for step in job.steps)
    ):
        return job.model_copy(update={"env": {**inherited, **job.env}, "contexts": {}})
    contexts = {**contexts, "matrix": values_of(job.matrix_values)}
    env = _environment(job, contexts)
    contexts = {**contexts, "env": env}
    values = job.model_dump(mode="json")
    values["steps"] = plain_steps(values["steps"])
    left: dict[str, str] = {}
    for path, text in job.templates.items():
        field = field_at(JOB, path)
        if _names(parse_template(text), "secrets"):
            left[path] = _guarded(path, text, partial(_reduced, text, contexts, _later_than_ready(field)))
        elif field.place[0] == "env":
            continue
        elif field.phase is Phase.STEP or _is_script(field):
            left[path] = _reduced_text(field, text, contexts)
        else:
            set_value(values, field.place, _parsed(field, text, contexts))
    for index, step in enumerate(values["steps"]):
        text = step["condition"]
        if text not in STEP_CONDITION_WORDS:
            step["condition"] = _guarded(f"steps.{index}.if", text, partial(_step_condition, text, contexts))
    values["outputs"] = {
        name: _guarded(f"outputs.{name}", text, partial(_reduced, text, contexts, _OUTPUT))
        for name, text in job.outputs.items()
    }
    return Job.model_validate(values | {"env": env, "templates": left, "contexts": {}})


def _step_condition(text: str, contexts: Contexts) -> str:
    """Return the condition of a step with everything filled in but what is known only when it runs.

    It has a status function: the step driver adds `success()` to a condition without one, and the known
    values may have decided the condition alone.
    """
    left = reduce(with_status(parse_condition(text, REDUCED)), contexts, STEP_NAMES)
    return to_text(with_status(left, "always"))


def _environment(job: Job, contexts: Contexts) -> dict[str, str]:
    """Return the job's variables with those of the pipeline. Raises ConfigInvalid."""
    return {**contexts.get("env", {}), **job.env, **_texts(JOB, job.templates, contexts)}


def _texts(root: Rule, templates: Mapping[str, str], contexts: Contexts) -> dict[str, str]:
    """Return the variables that have expressions. They may name those of the level above.

    Variables that have secrets are left out: the executor makes them.
    """
    return {
        path.removeprefix("env."): _parsed(field_at(root, path), text, contexts)
        for path, text in templates.items()
        if path.startswith("env.") and not _names(parse_template(text), "secrets")
    }


def _priority(pipeline: Pipeline, contexts: Contexts) -> int:
    if "priority" not in pipeline.templates:
        return pipeline.priority
    priority: int = _parsed(field_at(PIPELINE, "priority"), pipeline.templates["priority"], contexts)
    return priority


def _group(pipeline: Pipeline, contexts: Contexts) -> str | None:
    if pipeline.concurrency is None:
        return None
    text = pipeline.concurrency.group
    return _guarded("concurrency.group", text, lambda: render(parse_template(text), contexts))


def _parsed(field: Field, text: str, contexts: Contexts) -> Any:
    """Evaluate a template, and read the result by the grammar's rule. Raises ConfigInvalid."""
    template = parse_template(text)
    if isinstance(field.rule, Flag) and template.is_expression_only:
        value = _guarded(field.path, text, partial(evaluate, template.expressions[0].node, contexts))
        if value is None or isinstance(value, bool):
            return bool(value)
    result = _guarded(field.path, text, lambda: render(template, contexts))
    reading = Reading(Problems())
    kind = "text" if isinstance(field.rule, Text) else kind_of(result)
    found = field.rule.read(Scalar(Place(1, 1), result, kind), Spot((field.path,), Place(1, 1)), reading)
    if reading.problems.found:
        problem = reading.problems.found[0]
        raise ConfigInvalid(
            f"`{field.path}: {quotable(text, 120)}` became `{quotable(result, 120)}`: "
            + ". ".join(part.rstrip(".") for part in (problem.message, problem.hint) if part)
            + "."
        )
    return found


def _is_script(field: Field) -> bool:
    return field.place[0] == "steps" and field.place[2:] == ("run",)


def _later_than_ready(field: Field) -> frozenset[str]:
    return _SECRETS | STEP_NAMES if field.phase is Phase.STEP else _SECRETS


def _reduced_text(field: Field, text: str, contexts: Contexts) -> str:
    """Return the template with everything filled in but what is known only when the step runs."""
    keep = _SCRIPT if _is_script(field) else STEP_NAMES
    return _guarded(field.path, text, lambda: _reduced(text, contexts, keep))


def _reduced(text: str, contexts: Contexts, keep: Set[str]) -> str:
    return reduce_template(text, contexts, keep, limits=REDUCED)


def _guarded(path: str, text: str, evaluation: Callable[[], T]) -> T:
    """Return the result. An error of an expression becomes ConfigInvalid."""
    try:
        return evaluation()
    except ExpressionError as error:
        hint = f" {error.hint}" if error.hint else ""
        raise ConfigInvalid(f"`{path}: {quotable(text, 120)}`: {error.message}.{hint}") from error


def _decided(condition: str, contexts: Contexts, functions: Mapping[str, bool]) -> tuple[bool, str]:
    """Evaluate a condition. Return the result, and a sentence that says what decided it."""
    node = parse_condition(condition)
    status = {name: partial(bool, value) for name, value in functions.items()}
    result = truthy(_guarded("if", condition, lambda: evaluate(node, contexts, status)))
    return result, _guarded("if", condition, lambda: explain(condition, contexts, status))
