"""Loads a pipeline from YAML text, or reports all problems in it at once."""

from collections.abc import Mapping
from typing import Any

from shared.pipeline.checks import check
from shared.pipeline.errors import Place, Problems, Spot
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.model import (
    DEFAULT_JOB_TIMEOUT_SECONDS,
    DEFAULT_RUN_TIMEOUT_SECONDS,
    Checkout,
    Concurrency,
    Job,
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
from shared.pipeline.rules import Reading
from shared.pipeline.yaml import compose

Values = Mapping[str, Any]


def load(text: str | bytes) -> Pipeline:
    """Return the pipeline in this text, with defaults applied.

    Raises PipelineInvalid with all problems, and no other exception. If the YAML syntax is wrong, only the
    first problem is reported, because the rest cannot be read. A page takes milliseconds, and the limits of
    `yaml` bound the time.
    """
    problems = Problems()
    reading = Reading(problems)
    document = reading.read(compose(text, problems), PIPELINE, Spot((), Place(1, 1)))
    check(document or {}, reading)
    problems.raise_if_any()
    return _pipeline(document)


def _pipeline(values: Values) -> Pipeline:
    jobs = tuple(_job(name, job, values.get("defaults", {})) for name, job in values["jobs"].items())
    run_timeout_seconds = max(DEFAULT_RUN_TIMEOUT_SECONDS, *(job.timeout_seconds for job in jobs))
    return Pipeline(
        version=values["version"],
        name=values.get("name"),
        repositories=tuple(values["repository"]),
        on=_triggers(values["on"]),
        concurrency=Concurrency(**values["concurrency"]) if "concurrency" in values else None,
        env=values.get("env", {}),
        timeout_seconds=values.get("timeout", run_timeout_seconds),
        jobs=jobs,
    )


def _triggers(values: Values) -> Triggers:
    return Triggers(
        push=PushTrigger(**values["push"]) if "push" in values else None,
        pull_request=PullRequestTrigger(**values["pull_request"]) if "pull_request" in values else None,
    )


def _job(name: str, values: Values, defaults: Values) -> Job:
    return Job(
        name=name,
        image=values.get("image", defaults.get("image")),
        needs=values.get("needs", ()),
        steps=tuple(_step(step) for step in values["steps"]),
        env=values.get("env", {}),
        timeout_seconds=values.get("timeout", defaults.get("timeout", DEFAULT_JOB_TIMEOUT_SECONDS)),
        stop_grace_seconds=values.get("stop_grace"),
        checkout=_checkout(values.get("checkout", {})),
        resources=_resources({**defaults.get("resources", {}), **values.get("resources", {})}),
        services={name: _service(service) for name, service in values.get("services", {}).items()},
        retry=_retry(values.get("retry", {})),
        user=values.get("user"),
        node_selector=values.get("kubernetes", {}).get("node_selector", {}),
    )


def _checkout(values: Values | bool) -> Checkout | None:
    """Return the checkout, or None for `false`. A full history includes all tags unless `tags` is set."""
    return None if isinstance(values, bool) else Checkout(**{"tags": values.get("depth") == 0, **values})


def _resources(values: Values) -> Resources:
    return Resources(cpu_millis=values.get("cpu"), memory_bytes=values.get("memory"))


def _service(values: Values) -> Service:
    ready = values.get("ready")
    return Service(
        image=values["image"],
        env=values.get("env", {}),
        ready=None if ready is None else Ready(**_renamed(ready, {"within": "within_seconds"})),
    )


def _retry(values: Values) -> Retry:
    return Retry(**_renamed(values, {"backoff": "backoff_seconds"}))


def _step(values: Values) -> Step:
    return Step(**_renamed(values, {"timeout": "timeout_seconds", "if": "condition"}))


def _renamed(values: Values, names: Mapping[str, str]) -> dict[str, Any]:
    """Return the values with the model's names in place of the language's names."""
    return {names.get(key, key): value for key, value in values.items()}
