"""Explains without a server what a pipeline would do with a webhook's payload. Pure.

1. `normalise` reads the payload, as it reads a delivery.
2. `decide` decides whether the pipeline runs. The facts that only an installation has are assumed, and the
   answer states them.
3. `expand` gives the jobs with their values. Jobs whose needs can't have ended yet are left open; the answer
   says on what they depend.

`towpath explain` calls `explain` and prints the answer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import orjson

from shared.events import Event, Ignored, context
from shared.expressions import parse_condition, to_text
from shared.forges import Malformed, normalise
from shared.forges.guessing import event_type_of, forge_of
from shared.matching import Circumstances, Decision, Outcome, decide
from shared.pipeline.expansion import Expansion, PlannedJob, expand, has_status_function
from shared.pipeline.load import load
from shared.pipeline.model import STEP_CONDITION_WORDS, Job, Pipeline, Step
from shared.quoting import listed
from shared.readiness import decide as decide_job
from shared.states import JobState
from shared.statuses import Reason, Status

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""The states of jobs have times, but no time is part of the answer."""


class NotExplained(Exception):
    """The payload gives no event to explain. The message says why, and `fix` what to do."""

    def __init__(self, message: str, fix: str = "") -> None:
        super().__init__(message)
        self.fix = fix


class JobOutlook(StrEnum):
    """The knowledge about a job before any job of its run has started."""

    STARTS = "starts"
    DEPENDS = "depends"
    SKIPPED = "skipped"
    ERROR = "error"


def explain(
    text: str, payload: bytes, forge: str | None = None, event_type: str | None = None
) -> dict[str, Any]:
    """Return the answer about a pipeline and a payload, as JSON values.

    A forge or event type of None is guessed. Raises PipelineInvalid and NotExplained.
    """
    pipeline = load(text)
    forge, event_type = _origin(payload, forge, event_type)
    event = _event(payload, forge, event_type)
    circumstances = Circumstances((event.repository,), owner_may_use=True)
    decision = decide(event, pipeline, circumstances)
    return {
        "forge": forge,
        "event": {"kind": event.kind.value, **context(event)},
        "assumed": _assumed(event),
        "decision": _decision(decision),
        "run": _run(pipeline, event) if decision.outcome is Outcome.RUN else None,
    }


def _origin(payload: bytes, forge: str | None, event_type: str | None) -> tuple[str, str]:
    """Return the forge and the event type. Raises NotExplained if one is neither given nor certain."""
    try:
        document = orjson.loads(payload)
    except ValueError as error:
        raise NotExplained(f"The payload is not JSON: {error}.") from error
    if not isinstance(document, dict):
        raise NotExplained("The payload is not a JSON object.")
    event_type = event_type or event_type_of(document)
    if event_type is None:
        message = "The payload is neither surely a push nor surely a pull request."
        raise NotExplained(message, "name the event: --event-type push, or --event-type pull_request")
    forge = forge or forge_of(document)
    if forge is None:
        message = "The payload does not show which forge sent it."
        raise NotExplained(message, "name the forge: --forge github, or --forge gitea")
    return forge, event_type


def _event(payload: bytes, forge: str, event_type: str) -> Event:
    try:
        said = normalise(forge, event_type, {}, payload).said
    except Malformed as error:
        message = f"The payload can't be read as a {event_type} event of {forge}: {error}"
        raise NotExplained(message, "--forge and --event-type say how to read it") from error
    if isinstance(said, Ignored):
        raise NotExplained(f"The event is ignored for all pipelines: {said.reason}")
    return said


def _assumed(event: Event) -> list[str]:
    """Return the facts that only an installation knows, as sentences."""
    facts = [
        "The pipeline is stored and enabled.",
        "Its owner is a maintainer of the repository.",
        f"The repository is registered as {listed([event.repository])}.",
    ]
    if event.pull_request is not None:
        facts.append("The pull request was not closed after this event.")
    return facts


def _decision(decision: Decision) -> dict[str, Any]:
    return {
        "outcome": decision.outcome.value,
        "reasons": [{"code": why.code, "text": why.text} for why in decision.reasons],
    }


def _run(pipeline: Pipeline, event: Event) -> dict[str, Any]:
    expansion = expand(pipeline, context(event), {})
    states = _settled(expansion)
    concurrency = pipeline.concurrency
    return {
        "group": expansion.group,
        "limit": None if concurrency is None else concurrency.limit,
        "on_new": None if concurrency is None else concurrency.on_new,
        "priority": expansion.priority,
        "timeout_seconds": pipeline.timeout_seconds,
        "jobs": [_job(one, states, pipeline) for one in expansion.jobs],
    }


def _settled(expansion: Expansion) -> dict[str, JobState]:
    """Return the states of the jobs, by key, with everything that follows from jobs that are skipped.

    Jobs that start and jobs that wait are pending.
    """
    states = {one.job.key: _state(one) for one in expansion.jobs}
    undecided = [key for key, state in states.items() if state.needs and not state.is_over]
    is_moving = True
    while is_moving:
        is_moving = False
        for key in list(undecided):
            needs = [states[need] for need in states[key].needs]
            after = decide_job(states[key], needs, _ANY_TIME) if any(one.is_over for one in needs) else None
            if after is not None:
                states[key], is_moving = after, True
                undecided.remove(key)
    return states


def _state(one: PlannedJob) -> JobState:
    state = JobState(key=one.job.key, needs=one.needs, job=one.job, condition=one.condition)
    if one.problem is not None:
        return replace(state, status=Status.ERROR, reason=Reason.CONFIG_INVALID, message=one.problem)
    if one.is_skipped:
        return replace(state, status=Status.SKIPPED, reason=Reason.CONDITION_FALSE, message=one.condition)
    return state


def _job(one: PlannedJob, states: Mapping[str, JobState], pipeline: Pipeline) -> dict[str, Any]:
    state = states[one.job.key]
    job = state.job or one.job
    outlook = _outlook(state, states)
    left = dict(one.job.templates if outlook is JobOutlook.ERROR else job.templates)
    return {
        "key": job.key,
        "job": job.id,
        "title": job.name,
        "outlook": outlook.value,
        "reason": None if state.reason is None else state.reason.value,
        "why": _why(state, outlook, states),
        "condition": _condition(state),
        "needs": list(one.needs),
        "matrix": {name: value.text for name, value in job.matrix_values.items()},
        "image": left.get("image", job.image),
        "env": _environment(job, left, pipeline),
        "allow_failure": left.get("allow_failure", job.allow_failure),
        "timeout_seconds": left.get("timeout", job.timeout_seconds),
        "services": {
            name: left.get(f"services.{name}.image", service.image) for name, service in job.services.items()
        },
        "outputs": dict(job.outputs),
        "steps": [_step(index, step, left) for index, step in enumerate(job.steps)],
        "expressions": {path: text for path, text in left.items() if not path.startswith("steps.")},
    }


def _environment(job: Job, left: Mapping[str, str], pipeline: Pipeline) -> dict[str, str]:
    """Return the job's variables. A variable that is evaluated later has its expression."""
    above: Mapping[str, str] = job.contexts.get("env", pipeline.env)
    later = {path.removeprefix("env."): text for path, text in left.items() if path.startswith("env.")}
    return {**above, **job.env, **later}


def _step(index: int, step: Step, left: Mapping[str, str]) -> dict[str, Any]:
    prefix = f"steps.{index}.env."
    later = {path.removeprefix(prefix): text for path, text in left.items() if path.startswith(prefix)}
    condition = f"{step.condition}()" if step.condition in STEP_CONDITION_WORDS else step.condition
    return {
        "id": step.id,
        "name": step.name,
        "if": condition,
        "run": left.get(f"steps.{index}.run", step.run),
        "env": {**step.env, **later},
    }


def _condition(state: JobState) -> str | None:
    """Return the sentence about the job's `if`, or the condition itself while it is not decided."""
    if state.condition is not None or state.job is None or state.job.condition is None:
        return state.condition
    return f"if: {to_text(parse_condition(state.job.condition))}"


def _outlook(state: JobState, states: Mapping[str, JobState]) -> JobOutlook:
    if state.status is Status.SKIPPED:
        return JobOutlook.SKIPPED
    if state.status is Status.ERROR:
        return JobOutlook.ERROR
    return JobOutlook.DEPENDS if _open(state.needs, states) else JobOutlook.STARTS


def _open(needs: Iterable[str], states: Mapping[str, JobState]) -> list[str]:
    return [need for need in needs if not states[need].is_over]


def _why(state: JobState, outlook: JobOutlook, states: Mapping[str, JobState]) -> str:
    if outlook in (JobOutlook.SKIPPED, JobOutlook.ERROR):
        return state.message or ""
    if outlook is JobOutlook.STARTS:
        return "It waits for no other job." if not state.needs else "All jobs that it needs ended."
    waits_for = listed(_open(state.needs, states))
    condition = None if state.job is None else state.job.condition
    if condition is None:
        return f"It runs if these jobs succeed: {waits_for}."
    if has_status_function(condition):
        return f"Its `if` is decided when these jobs have ended: {waits_for}."
    return f"Its `if` is decided when these jobs have succeeded: {waits_for}."
