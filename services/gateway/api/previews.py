"""Previews of pipelines: what recent events would have started under a YAML that is not saved."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field, model_validator

from services.gateway.api.events import DecisionReason
from services.gateway.api.pipelines import BODY_BYTES, Yaml, accepted
from services.gateway.api.run_views import EventKind
from services.gateway.http.answers import View, json_answer
from services.gateway.http.fields import Id, Instant, Shape
from services.gateway.http.problems import Problem, invalid, not_found
from services.gateway.http.routing import Answer, Call, NoFilters, Route
from services.gateway.pipeline_reader import Busy, TooMuchWork
from services.gateway.store.previews import Previewed, case_of
from shared.matching import Outcome
from shared.pipeline.globs import repository_keys

MOST_EVENTS = 50
DEFAULT_EVENTS = 20


class PreviewOf(Shape):
    yaml_config: Yaml
    events: Annotated[int, Field(ge=1, le=MOST_EVENTS)] | None = Field(
        None, description=f"How many events, the newest first: {DEFAULT_EVENTS} if absent."
    )
    event_ids: list[Id] | None = Field(
        None, min_length=1, max_length=MOST_EVENTS, description="These events instead of the newest."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> "PreviewOf":
        if self.events is not None and self.event_ids is not None:
            raise ValueError("events and event_ids exclude each other")
        return self


class PreviewedJob(View):
    key: str
    name: str
    needs: list[str]
    outcome: Literal["run", "skipped", "error"] = Field(description="When the run is created.")
    why: str | None = Field(description="What decided its `if`, or its problem.")


class PreviewedDecision(View):
    """The decision of the previewed YAML. The jobs are those of the run that it would start."""

    outcome: Outcome
    reasons: list[DecisionReason]
    jobs: list[PreviewedJob]
    group: str | None = Field(description="The name of the concurrency group.")
    priority: int | None


class StoredDecision(View):
    outcome: Outcome
    reasons: list[DecisionReason]
    revision_id: int
    run_id: int | None


class PreviewedEvent(View):
    event_id: int
    kind: EventKind
    action: str | None
    repository: str
    ref: str | None
    branch: str | None
    tag: str | None
    base_branch: str | None
    pull_request: int | None
    sha: str | None
    received_at: Instant
    was: StoredDecision | None = Field(description="null: nothing was decided for this pipeline.")
    would_be: PreviewedDecision | None = Field(
        description="null: the YAML does not name the repository, so nothing is decided."
    )
    changed: bool = Field(description="The outcomes of `was` and `would_be` differ.")


class Preview(View):
    items: list[PreviewedEvent] = Field(description="The newest event first.")


async def previews(
    call: Call[Any, Any], models: list[Mapping[str, Any]], cases: list[Any], place: str
) -> list[dict[str, Any]]:
    """Return the previews of these cases. `place` is the field of the request that says how many there are.

    Raises Problem 503 if too many documents wait, or 422 if the previews take too long.
    """
    try:
        return await call.gateway.pipelines.preview(models, cases, call.caller.user_id)
    except Busy as error:
        raise Problem(503, "too_many_checks", f"{error} Try again.", headers={"Retry-After": "1"}) from error
    except TooMuchWork as error:
        message = (
            "the decisions take longer than half of TOWPATH_PIPELINE_CHECK_SECONDS "
            f"({call.gateway.pipelines.seconds:g} s); {error.done} fit into it: ask for fewer"
        )
        raise invalid(place, "too_much_work", message) from error


async def preview_new(call: Call[PreviewOf, NoFilters]) -> web.Response:
    return await _answer(call, Previewed(call.caller.user_id), {})


async def preview_stored(call: Call[PreviewOf, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        row = await work.pipeline(call.id, call.caller)
    if row is None:
        raise not_found()
    return await _answer(call, Previewed(row["created_by"], call.id, row["enabled"]), row["model"])


async def _answer(
    call: Call[PreviewOf, NoFilters], pipeline: Previewed, stored: Mapping[str, Any]
) -> web.Response:
    """Return the answer. Events are those of the repositories that the old or the new YAML names."""
    wanted = call.body
    definition = await accepted(call, wanted.yaml_config)
    keys = {*definition.repository_keys, *repository_keys(stored.get("repositories") or [])}
    count = len(set(wanted.event_ids)) if wanted.event_ids else wanted.events or DEFAULT_EVENTS
    async with call.gateway.store.reading() as work:
        rows = await work.preview_events(call.caller, pipeline, wanted.event_ids, sorted(keys), count)
    if missing := set(wanted.event_ids or ()) - {row["id"] for row in rows}:
        message = f"event {min(missing)} does not exist, or its repository is not yours to see"
        raise invalid("body.event_ids", "unknown_event", message)
    forks_can_run = call.gateway.settings.backend != "local"
    cases = [
        (0, case_of(row, pipeline.owner_id, enabled=pipeline.enabled, forks_can_run=forks_can_run))
        for row in rows
    ]
    place = "body.event_ids" if wanted.event_ids else "body.events"
    found = await previews(call, [definition.model], cases, place) if cases else []
    return json_answer(Preview(items=[_shown(row, one) for row, one in zip(rows, found, strict=True)]))


def _shown(row: Mapping[str, Any], found: Mapping[str, Any]) -> PreviewedEvent:
    was = None if row["outcome"] is None else StoredDecision.of(row)
    would_be = previewed_decision(found)
    changed = (was and was.outcome) != (would_be and would_be.outcome)
    return PreviewedEvent.of(row, event_id=row["id"], was=was, would_be=would_be, changed=changed)


def previewed_decision(found: Mapping[str, Any]) -> PreviewedDecision | None:
    """Return the decision in a preview of the worker. None if the pipeline does not name the repository."""
    return None if found["decision"] is None else PreviewedDecision.of({**found, **found["decision"]})


_ANSWERS = {200: Answer("For each event what was decided, and what this YAML decides.", Preview)}
_SUMMARY = "What the newest events would have started under this YAML. Nothing is stored."

ROUTES = (
    Route(
        method="POST",
        path="/pipelines/preview",
        handler=preview_new,
        summary=f"{_SUMMARY} As if the pipeline were a new one of yours.",
        body=PreviewOf,
        body_bytes=BODY_BYTES,
        answers=_ANSWERS,
    ),
    Route(
        method="POST",
        path="/pipelines/{id}/preview",
        handler=preview_stored,
        summary=f"{_SUMMARY} Beside what was decided for the pipeline.",
        body=PreviewOf,
        body_bytes=BODY_BYTES,
        answers=_ANSWERS,
    ),
)
