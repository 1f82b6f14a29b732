"""Previews: what a pipeline would decide about an event, and which jobs its run would have.

The functions that decide and expand are those of the scheduler, so a preview and the scheduler agree if they
get the same event and circumstances. The event is rebuilt from its row, not read from the delivery again.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import ValidationError

from shared.events import Event, context
from shared.matching import Circumstances, Decision, Outcome, PatternBudget, Why, decide
from shared.pipeline.expansion import PlannedJob, expand
from shared.pipeline.globs import repository_keys, repository_lookup
from shared.pipeline.inputs import Given
from shared.pipeline.model import Pipeline

UNREADABLE = Decision(
    Outcome.NOT_MATCHED,
    (
        Why(
            "revision_unreadable", "This release can't read the pipeline's revision. Save the pipeline again."
        ),
    ),
)


@dataclass(frozen=True, slots=True)
class Case:
    """An event, and the circumstances of one pipeline at that event."""

    event_id: int
    owner_id: int
    """The pipeline's owner. The pattern steps of an owner's pipelines are counted together."""
    event: Event
    circumstances: Circumstances
    inputs: Given = field(default_factory=dict)
    """Of an event that a user has made: the inputs that were given."""


@dataclass(frozen=True, slots=True)
class PreviewedJob:
    """A job that a run would have, in the state in which it would be created."""

    key: str
    name: str
    needs: tuple[str, ...]
    outcome: Literal["run", "skipped", "error"]
    why: str | None
    """The sentence about its `if` or its problem. None if nothing is decided before the run starts."""


@dataclass(frozen=True, slots=True)
class Preview:
    """The answer for one event."""

    decision: Decision | None
    """None if the pipeline does not name the repository. The scheduler stores no decision then."""
    jobs: tuple[PreviewedJob, ...] = ()
    """The jobs of the run, in the document's order. Empty without a run."""
    group: str | None = None
    priority: int | None = None


def preview(model: Mapping[str, Any], case: Case, budget: PatternBudget) -> Preview:
    """Return what the pipeline with this stored model decides about the event."""
    try:
        pipeline = Pipeline.model_validate(model)
    except ValidationError:
        return Preview(UNREADABLE)
    if not names_repository(pipeline, case.circumstances.repository_names):
        return Preview(None)
    names = case.circumstances.repository_names
    key = case.event_id, case.owner_id
    decision = budget.spend(key, case.event, pipeline, names) or decide(
        case.event, pipeline, case.circumstances, budget.file_steps(key)
    )
    if decision.outcome is not Outcome.RUN:
        return Preview(decision)
    expansion = expand(pipeline, context(case.event), case.inputs)
    return Preview(decision, tuple(map(_previewed, expansion.jobs)), expansion.group, expansion.priority)


def names_repository(pipeline: Pipeline, names: tuple[str, ...]) -> bool:
    """Return True if the pipeline is stored under one of the keys by which the scheduler finds pipelines."""
    keys = set(repository_keys(pipeline.repositories))
    return any(key in keys for name in names for key in repository_lookup(name))


def _previewed(one: PlannedJob) -> PreviewedJob:
    outcome: Literal["run", "skipped", "error"] = "run"
    if one.problem is not None:
        outcome = "error"
    elif one.is_skipped:
        outcome = "skipped"
    why = one.problem or one.condition or (f"if: {one.job.condition}" if one.job.condition else None)
    return PreviewedJob(one.job.key, one.job.name, one.needs, outcome, why)
