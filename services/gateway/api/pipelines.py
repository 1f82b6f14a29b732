"""The resource `pipelines`: stored definitions. A save that changes the YAML adds an immutable revision."""

from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import Field, StringConstraints

from services.gateway.http.answers import (
    Page,
    PageFilters,
    View,
    check_version,
    json_answer,
    no_content,
    paged,
)
from services.gateway.http.etags import etag_of
from services.gateway.http.fields import Instant, Shape, Text
from services.gateway.http.problems import Fault, Problem, conflict, not_found
from services.gateway.http.routing import ETAG, IF_MATCH, LOCATION, Answer, Call, NoBody, NoFilters, Route
from services.gateway.people import Scope
from services.gateway.pipeline_reader import Busy
from services.gateway.quotas import check_quota
from services.gateway.store.pipelines import Definition, NameTaken, Naming
from services.gateway.unmatched import group_warnings, warnings_of
from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.model import Concurrency, Triggers

Name = Annotated[Text, StringConstraints(min_length=1, max_length=200)]
Description = Annotated[Text, StringConstraints(max_length=2000)]
_EXAMPLE = """\
version: 1
repository: octo/web
on: { push: { branches: [main] } }
jobs:
  test:
    steps:
      - run: python3 -m unittest
"""
BODY_BYTES = 1 << 20
"""The maximum size of a body. A YAML document of 256 KiB may need three times as many bytes in JSON."""
_YAML = Field(description="The pipeline: one YAML document of 256 KiB at most.", examples=[_EXAMPLE])
Yaml = Annotated[Text, StringConstraints(max_length=1 << 20), _YAML]


_WARNINGS = (
    "No errors, but probably not meant: repositories for which nothing will run, empty expressions in a "
    "group."
)


class NewPipeline(Shape):
    name: Name = Field(description="Yours alone: another pipeline of yours cannot have it.")
    description: Description = ""
    yaml_config: Yaml
    enabled: bool = True


class PipelineChange(Shape):
    """The changes to a pipeline. An absent field stays unchanged."""

    name: Name | None = None
    description: Description | None = None
    yaml_config: Yaml | None = None
    enabled: bool | None = None


class PipelineText(Shape):
    yaml_config: Yaml


class PipelineFilters(PageFilters):
    name: Text | None = None


class PipelineSummary(View):
    id: int
    name: str
    description: str
    enabled: bool
    revision: int = Field(description="The number of the newest revision.")
    created_by: int
    created_at: Instant
    updated_at: Instant


class Pipeline(PipelineSummary):
    yaml_config: str
    warnings: list[Fault] = Field(description=_WARNINGS)


class Revision(View):
    id: int
    number: int
    yaml_config: str
    created_by: int
    created_at: Instant


class Validation(View):
    valid: bool
    errors: list[Fault]
    warnings: list[Fault] = Field(description=f"{_WARNINGS} As if the pipeline were yours.")


async def _understood(call: Call[Any, Any], yaml_config: str) -> Definition:
    """Read a pipeline.

    Raises PipelineInvalid with its errors, or Problem 503 if too many documents wait to be read.
    """
    try:
        return await call.gateway.pipelines.read(yaml_config, call.caller.user_id)
    except Busy as error:
        raise Problem(503, "too_many_checks", f"{error} Try again.", headers={"Retry-After": "1"}) from error


def _faults(error: PipelineInvalid) -> list[Fault]:
    return [Fault.model_validate(problem.model_dump()) for problem in error.problems]


async def accepted(call: Call[Any, Any], yaml_config: str) -> Definition:
    """Read a pipeline. Raises Problem 422 with its errors, or 503 if too many documents wait."""
    try:
        return await _understood(call, yaml_config)
    except PipelineInvalid as error:
        raise Problem(422, "pipeline_invalid", "The pipeline is not valid.", errors=_faults(error)) from error


def _name_taken() -> Problem:
    return conflict("name_taken", "Another pipeline of this owner has this name.")


async def _shown(
    work: Any, call: Call[Any, Any], pipeline_id: int, status: int = 200, **headers: str
) -> web.Response:
    """Return the answer with a pipeline. Raises Problem 404 if the caller cannot see it."""
    row = await work.pipeline(pipeline_id, call.caller)
    if row is None:
        raise not_found()
    warnings = await _warnings(work, row["model"], row["created_by"])
    return json_answer(
        Pipeline.of(row, warnings=warnings), status, {"ETag": etag_of(row["version"]), **headers}
    )


async def _warnings(work: Any, model: Mapping[str, Any], owner: int) -> list[Fault]:
    """Return the warnings of a pipeline.

    `model` has at least the keys `repositories`, `on` and `concurrency`. Each is None if no revision is
    stored.
    """
    repositories = model["repositories"] or []
    concurrency = model["concurrency"]
    group = None if concurrency is None else Concurrency.model_validate(concurrency)
    return [
        *warnings_of(repositories, await work.usable_repositories(owner, repositories)),
        *group_warnings(group, Triggers.model_validate(model["on"] or {})),
    ]


async def create(call: Call[NewPipeline, NoFilters]) -> web.Response:
    definition = await accepted(call, call.body.yaml_config)
    naming = Naming(call.body.name, call.body.description, call.body.enabled)
    async with call.gateway.store.transaction() as work:
        await check_quota(work, call, "pipelines", call.caller.user_id)
        pipeline_id = await work.insert_pipeline(naming, definition, call.caller.user_id)
        if pipeline_id is None:
            raise _name_taken()
        await work.audit(call.caller.user_id, "pipeline.created", f"pipeline:{pipeline_id}")
        return await _shown(work, call, pipeline_id, 201, Location=f"/pipelines/{pipeline_id}")


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return await _shown(work, call, call.id)


async def listed(call: Call[NoBody, PipelineFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        return await paged(
            call,
            PipelineSummary,
            lambda before, limit: work.pipelines(call.caller, before, limit, call.query.name),
        )


async def change(call: Call[PipelineChange, NoFilters]) -> web.Response:
    wanted = call.body
    definition = None if wanted.yaml_config is None else await accepted(call, wanted.yaml_config)
    async with call.gateway.store.transaction() as work:
        row = await _locked(work, call)
        if definition is not None and definition.yaml_config == row["yaml_config"]:
            definition = None
        naming = Naming(
            row["name"] if wanted.name is None else wanted.name,
            row["description"] if wanted.description is None else wanted.description,
            row["enabled"] if wanted.enabled is None else wanted.enabled,
        )
        try:
            await work.change_pipeline(row, naming, definition, call.caller.user_id)
        except NameTaken as error:
            raise _name_taken() from error
        await work.audit(
            call.caller.user_id,
            "pipeline.changed",
            f"pipeline:{call.id}",
            {"new_revision": definition is not None, **_named_changes(row, naming)},
        )
        return await _shown(work, call, call.id)


def _named_changes(before: Mapping[str, Any], after: Naming) -> dict[str, list[Any]]:
    """Return the changes to name and `enabled` for the audit log, each as [before, after]."""
    fields = {"name": after.name, "enabled": after.enabled}
    return {field: [before[field], value] for field, value in fields.items() if before[field] != value}


async def _locked(work: Any, call: Call[Any, Any]) -> Any:
    """Return the pipeline, locked. Raises Problem 404, or 412 if If-Match names another version."""
    row = await work.lock_pipeline(call.id, call.caller)
    if row is None:
        raise not_found()
    check_version(call, "pipeline", row["version"])
    return row


async def delete(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.transaction() as work:
        await _locked(work, call)
        await work.delete_pipeline(call.id)
        await work.audit(call.caller.user_id, "pipeline.deleted", f"pipeline:{call.id}")
    return no_content()


async def revisions(call: Call[NoBody, PageFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        if await work.pipeline(call.id, call.caller) is None:
            raise not_found()
        return await paged(call, Revision, lambda before, limit: work.revisions(call.id, before, limit))


async def validate(call: Call[PipelineText, NoFilters]) -> web.Response:
    try:
        definition = await _understood(call, call.body.yaml_config)
    except PipelineInvalid as error:
        return json_answer(Validation(valid=False, errors=_faults(error), warnings=[]))
    async with call.gateway.store.reading() as work:
        warnings = await _warnings(work, definition.model, call.caller.user_id)
        return json_answer(Validation(valid=True, errors=[], warnings=warnings))


_ONE = Answer("The pipeline.", Pipeline, headers=ETAG)

ROUTES = (
    Route(
        method="POST",
        path="/pipelines",
        handler=create,
        summary="Store a pipeline. A YAML that is no pipeline is 422 with every error.",
        scope=Scope.WRITE,
        body=NewPipeline,
        body_bytes=BODY_BYTES,
        answers={201: Answer("The pipeline.", Pipeline, headers=ETAG | LOCATION)},
        problems=frozenset({409}),
    ),
    Route(
        method="GET",
        path="/pipelines",
        handler=listed,
        summary="Your pipelines; administrators see all.",
        query=PipelineFilters,
        answers={200: Answer("A page.", Page[PipelineSummary])},
    ),
    Route(
        method="POST",
        path="/pipelines/validate",
        handler=validate,
        summary="Look for errors without storing anything.",
        body=PipelineText,
        body_bytes=BODY_BYTES,
        answers={200: Answer("What was found.", Validation)},
    ),
    Route(method="GET", path="/pipelines/{id}", handler=show, summary="A pipeline.", answers={200: _ONE}),
    Route(
        method="PUT",
        path="/pipelines/{id}",
        handler=change,
        summary="Change a pipeline; another YAML makes a revision.",
        scope=Scope.WRITE,
        body=PipelineChange,
        body_bytes=BODY_BYTES,
        headers=(IF_MATCH,),
        answers={200: _ONE},
        problems=frozenset({409, 412}),
    ),
    Route(
        method="DELETE",
        path="/pipelines/{id}",
        handler=delete,
        summary="Delete a pipeline: nothing new matches it, what it did stays readable, its name is free "
        "again.",
        scope=Scope.WRITE,
        headers=(IF_MATCH,),
        answers={204: Answer("Deleted.")},
        problems=frozenset({412}),
    ),
    Route(
        method="GET",
        path="/pipelines/{id}/revisions",
        handler=revisions,
        summary="What the pipeline said, save by save.",
        query=PageFilters,
        answers={200: Answer("A page.", Page[Revision])},
    ),
)
