"""Loads a pipeline from YAML text, or reports all problems in it at once."""

from collections.abc import Mapping
from typing import Any

from shared.pipeline import contexts, inputs
from shared.pipeline.checks import check
from shared.pipeline.compound_rules import OTHERS
from shared.pipeline.errors import Place, Problems, Spot
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.model import (
    DEFAULT_JOB_TIMEOUT_SECONDS,
    DEFAULT_RUN_TIMEOUT_SECONDS,
    STEP_CONDITION_WORDS,
    Checkout,
    Concurrency,
    Job,
    ManualTrigger,
    Matrix,
    Pipeline,
    PullRequestTrigger,
    PushTrigger,
    Ready,
    Resources,
    Retry,
    Service,
    Step,
    Triggers,
)
from shared.pipeline.rules import Reading, Written
from shared.pipeline.yaml import compose

Values = Mapping[str, Any]

_NOT_FILLED_IN = "echo 'The expressions of this script were not filled in.' >&2; exit 1"
"""The script of a step until its expressions are filled in. A job that ran it would fail."""

_WORDS = {f"{word}()": word for word in STEP_CONDITION_WORDS}


def load(text: str | bytes) -> Pipeline:
    """Return the pipeline in this text, with defaults applied.

    Raises PipelineInvalid with all problems, and no other exception. If the YAML syntax is wrong, only the
    first problem is reported, because the rest cannot be read. A page takes milliseconds, and the limits of
    `yaml` bound the time.
    """
    problems = Problems()
    reading = Reading(problems)
    document = reading.read(compose(text, problems), PIPELINE, Spot((), Place(1, 1)))
    counts = check(document or {}, reading)
    inputs.check(document or {}, reading)
    contexts.check(document or {}, counts, reading)
    problems.raise_if_any()
    return _pipeline(document, reading)


def _pipeline(values: Values, reading: Reading) -> Pipeline:
    defaults = values.get("defaults", {})
    written = contexts.by_job(values, reading)
    jobs = tuple(_job(name, job, defaults, written[name]) for name, job in values["jobs"].items())
    run_timeout_seconds = max(DEFAULT_RUN_TIMEOUT_SECONDS, *(job.timeout_seconds for job in jobs))
    return Pipeline(
        version=values["version"],
        name=values.get("name"),
        repositories=tuple(values["repository"]),
        on=_triggers(values["on"]),
        priority=values.get("priority") or 0,
        concurrency=Concurrency(**values["concurrency"]) if "concurrency" in values else None,
        env=_texts(values.get("env", {})),
        timeout_seconds=values.get("timeout", run_timeout_seconds),
        jobs=jobs,
        templates=_templates(contexts.of_pipeline(reading)),
    )


def _templates(written: Mapping[tuple[str | int, ...], Written]) -> dict[str, str]:
    """Return the texts with expressions that the model does not have at their own places."""
    return {".".join(map(str, path)): one.text for path, one in written.items() if not one.is_kept}


def _texts(values: Mapping[str, str | None]) -> dict[str, str]:
    """Return the values without those that have expressions."""
    return {name: text for name, text in values.items() if text is not None}


def _triggers(values: Values) -> Triggers:
    return Triggers(
        push=PushTrigger(**values["push"]) if "push" in values else None,
        pull_request=PullRequestTrigger(**values["pull_request"]) if "pull_request" in values else None,
        manual=ManualTrigger(**values["manual"]) if "manual" in values else None,
    )


def _job(
    name: str, values: Values, defaults: Values, written: Mapping[tuple[str | int, ...], Written]
) -> Job:
    return Job(
        id=name,
        key=name,
        name=values.get("name") or name,
        image=values.get("image", defaults.get("image")),
        needs=values.get("needs", ()),
        condition=values.get("if"),
        allow_failure=values.get("allow_failure") or False,
        matrix=_matrix(values["matrix"]) if "matrix" in values else None,
        steps=tuple(_step(step) for step in values["steps"]),
        env=_texts({**defaults.get("env", {}), **values.get("env", {})}),
        timeout_seconds=values.get("timeout", defaults.get("timeout")) or DEFAULT_JOB_TIMEOUT_SECONDS,
        stop_grace_seconds=values.get("stop_grace"),
        checkout=_checkout(values.get("checkout"), defaults.get("checkout", {})),
        resources=_resources({**defaults.get("resources", {}), **values.get("resources", {})}),
        services={name: _service(service) for name, service in values.get("services", {}).items()},
        retry=_retry({**defaults.get("retry", {}), **values.get("retry", {})}),
        outputs=values.get("outputs", {}),
        secrets=tuple(values.get("secrets", ())),
        user=values.get("user"),
        node_selector=_texts(values.get("kubernetes", {}).get("node_selector", {})),
        cluster=_texts(values.get("cluster", {})),
        templates=_templates(written),
    )


def _matrix(values: Values) -> Matrix:
    settings = {key: value for key, value in values.items() if key != OTHERS}
    return Matrix(axes=values.get(OTHERS, {}), **settings)


def _checkout(values: Values | bool | None, defaults: Values | bool) -> Checkout | None:
    """Return the checkout, or None for `false`. A full history includes all tags unless `tags` is set.

    The job's keys take precedence over the defaults. A job with a `checkout` ignores a default of `false`.
    """
    chosen = defaults if values is None else values
    if isinstance(chosen, bool):
        return None
    merged = {**({} if isinstance(defaults, bool) else defaults), **chosen}
    return Checkout(**{"tags": merged.get("depth") == 0, **merged})


def _resources(values: Values) -> Resources:
    return Resources(cpu_millis=values.get("cpu"), memory_bytes=values.get("memory"))


def _service(values: Values) -> Service:
    ready = values.get("ready")
    return Service(
        image=values["image"] or "",
        env=_texts(values.get("env", {})),
        ready=None if ready is None else Ready(**_renamed(ready, {"within": "within_seconds"})),
    )


def _retry(values: Values) -> Retry:
    return Retry(**_renamed(values, {"backoff": "backoff_seconds"}))


def _step(values: Values) -> Step:
    plain = {key: value for key, value in values.items() if value is not None and key not in ("if", "env")}
    condition = values.get("if", "success()")
    return Step(
        **{"run": _NOT_FILLED_IN, **_renamed(plain, {"timeout": "timeout_seconds"})},
        env=_texts(values.get("env", {})),
        condition=_WORDS.get(condition, condition),
    )


def _renamed(values: Values, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the values with the model's names in place of the language's names."""
    return {names.get(key, key): value for key, value in values.items()}
