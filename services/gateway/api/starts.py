"""The command to start a run of a pipeline: `POST /pipelines/{id}/runs`."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from aiohttp import web
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from services.gateway.api.commands import COMMAND_REFUSALS, accepted, idempotency_key
from services.gateway.api.commands import Command as CommandView
from services.gateway.api.run_views import Run
from services.gateway.api.runs import shown_run
from services.gateway.http.answers import json_answer
from services.gateway.http.fields import Shape, Text
from services.gateway.http.problems import Fault, Problem, conflict, invalid, not_found
from services.gateway.http.routing import IDEMPOTENCY_KEY, LOCATION, Answer, Call, NoFilters, Route
from services.gateway.people import Scope
from shared.pipeline.globs import is_glob, repository_matches
from shared.pipeline.inputs import WrongInput, faults
from shared.pipeline.model import Pipeline

_REF = re.compile(r"(?!-)(?!.*(?:\.\.|@\{|//|/\.|\.lock(?:/|$)))[^\x00-\x20\x7f~^:?*\[\\]+(?<![/.])")


def _ref_name(text: str) -> str:
    if not _REF.fullmatch(text) or text.startswith(("/", "refs/")):
        raise ValueError("this is not the name of a branch or tag; write main, not refs/heads/main")
    return text


RefName = Annotated[Text, StringConstraints(min_length=1, max_length=250), AfterValidator(_ref_name)]
Sha = Annotated[Text, StringConstraints(pattern=r"^(?:[0-9a-f]{40}|[0-9a-f]{64})$")]
InputName = Annotated[Text, StringConstraints(min_length=1, max_length=63)]
Value = Annotated[Text, StringConstraints(max_length=1024)] | bool | int | float


class StartRun(Shape):
    """A run to start. Exactly one of `branch`, `tag` and `sha` is needed."""

    repository: Text | None = Field(
        None, description="Full name, as octo/web. Needed if the pipeline is for several repositories."
    )
    branch: RefName | None = None
    tag: RefName | None = None
    sha: Sha | None = Field(None, description="All digits of a commit that a branch or tag has.")
    inputs: Annotated[dict[InputName, Value], Field(max_length=50)] = Field(
        default_factory=dict, description="Values of the pipeline's inputs. Absent ones have their defaults."
    )

    @model_validator(mode="after")
    def _names_one(self) -> "StartRun":
        if sum(value is not None for value in (self.branch, self.tag, self.sha)) != 1:
            raise ValueError("exactly one of branch, tag and sha is needed")
        return self


def _text(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


async def start(call: Call[StartRun, NoFilters]) -> web.Response:
    """Start a run.

    The command is stored before the request waits for its effect: the scheduler checks it, and an executor
    resolves the ref.
    """
    command = await _commanded(call)
    if command["outcome"] is None:
        return accepted(command)
    if command["outcome"] == "refused":
        raise conflict(
            command["reason"], COMMAND_REFUSALS.get(command["reason"], "The scheduler refused this.")
        )
    async with call.gateway.store.reading() as work:
        run = await shown_run(work, call, command["new_run_id"])
    return json_answer(run, 201, {"Location": f"/runs/{run.id}"})


async def _commanded(call: Call[StartRun, NoFilters]) -> Any:
    """Store the command and return its row, with its effect if that is stored soon."""
    key = idempotency_key(call.request)
    given = call.body.model_dump()
    arguments = given | {"inputs": {name: _text(value) for name, value in call.body.inputs.items()}}
    async with call.gateway.store.transaction() as work:
        pipeline = await work.pipeline(call.id, call.caller)
        if pipeline is None:
            raise not_found()
        command_id = await _repeated(work, call, arguments, key) if key else None
        if command_id is None:
            repository_id = await _checked(work, pipeline, arguments)
            command_id = await work.insert_start(call.id, repository_id, arguments, call.caller.user_id, key)
            if command_id is None:  # another request with the same key was faster
                command_id = await _repeated(work, call, arguments, key or "")
            else:
                await work.audit(call.caller.user_id, "run.start", f"pipeline:{call.id}", arguments)
    if command_id is None:
        raise RuntimeError("a command was neither stored nor there")
    return await call.gateway.effects.wait(command_id, call.caller)


async def _repeated(work: Any, call: Call[Any, Any], arguments: Mapping[str, Any], key: str) -> int | None:
    """Return the id of the earlier command with this key, or None. Raises Problem 409 for another one."""
    earlier = await work.command_by_key(call.caller.user_id, key)
    if earlier is None:
        return None
    if (earlier["kind"], earlier["pipeline_config_id"], earlier["arguments"]) != (
        "start",
        call.id,
        arguments,
    ):
        raise conflict("key_used", "This Idempotency-Key was used for another request.")
    return int(earlier["id"])


async def _checked(work: Any, pipeline: Any, arguments: Mapping[str, Any]) -> int:
    """Return the id of the repository. Raises Problem 409 or 422 if the run can't be started."""
    model = await work.newest_model(pipeline["id"])
    if model is None:
        raise conflict("revision_unreadable", COMMAND_REFUSALS["revision_unreadable"])
    definition = Pipeline.model_validate(model)
    if not pipeline["enabled"]:
        raise conflict("disabled", COMMAND_REFUSALS["disabled"])
    if definition.on.manual is None:
        raise conflict("not_manual", COMMAND_REFUSALS["not_manual"])
    if wrong := faults(definition, arguments["inputs"]):
        raise Problem(422, "invalid", "The request is not valid.", errors=list(map(_fault, wrong)))
    return await _repository(work, definition, arguments["repository"], pipeline["created_by"])


def _fault(wrong: WrongInput) -> Fault:
    return Fault(path=f"body.inputs.{wrong.name}", code=wrong.code, message=wrong.message)


async def _repository(work: Any, pipeline: Pipeline, named: str | None, owner: int) -> int:
    path = "body.repository"
    if named is None:
        if len(pipeline.repositories) > 1 or is_glob(pipeline.repositories[0]):
            raise invalid(path, "missing", "The pipeline is for several repositories: name one.")
        named = pipeline.repositories[0]
    elif not repository_matches(pipeline.repositories, named):
        raise invalid(path, "not_matched", "The pipeline is not for this repository.")
    repository_id: int | None = await work.repository_to_start(named, owner)
    if repository_id is None:
        message = "No such repository is registered, or the pipeline's owner is not a maintainer of it."
        raise invalid(path, "unknown_repository", message)
    return repository_id


ROUTES = (
    Route(
        method="POST",
        path="/pipelines/{id}/runs",
        handler=start,
        summary="Start a run. A wrong input is 422 with its name; a ref that is gone is 409 `ref_gone`.",
        scope=Scope.WRITE,
        body=StartRun,
        headers=(IDEMPOTENCY_KEY,),
        answers={
            201: Answer("The run.", Run, headers=LOCATION),
            202: Answer("It will be done; its effect is at Location.", CommandView, headers=LOCATION),
        },
        problems=frozenset({409}),
    ),
)
