"""The resource `commands`: requests of users to start, cancel, retry or approve a run, and their effects."""

import re
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from services.gateway.http.answers import View, json_answer
from services.gateway.http.fields import Instant
from services.gateway.http.problems import invalid, not_found
from services.gateway.http.routing import IDEMPOTENCY_KEY, Answer, Call, NoBody, NoFilters, Route


class CommandArguments(View):
    """The arguments of a retry or of a start. Other commands have none."""

    only: str | None = None
    latest: bool | None = None
    repository: str | None = None
    branch: str | None = None
    tag: str | None = None
    sha: str | None = None
    inputs: dict[str, str] | None = None


class Command(View):
    id: int
    kind: Literal["start", "cancel", "retry", "approve"]
    run_id: int | None = Field(description="null: of a start.")
    pipeline_config_id: int | None = Field(description="Of a start.")
    arguments: CommandArguments
    requested_by: int
    created_at: Instant
    outcome: Literal["applied", "refused"] | None = Field(description="null: not applied yet.")
    reason: str | None
    waiting_for: Literal["ref"] | None = Field(
        description="Of a start that is not applied: its branch, tag or commit is being looked up at the "
        "repository's server."
    )
    event_id: int | None = Field(description="Of a start: its event.")
    new_run_id: int | None = Field(description="Of a start or a retry: the run that it made.")
    applied_at: Instant | None


COMMAND_REFUSALS = {
    "approval_not_needed": "The run needs no approval: its code is trusted, or its pipeline runs pull "
    "requests from forks without one.",
    "approval_cancelled": "The run was cancelled before it was approved.",
    "approval_void": "A newer push of the pull request replaced this one, or the pull request was closed. "
    "Approve the run of the newest push.",
    "approval_expired": "Nobody approved the run in time. Retry it, and approve the new run.",
    "forks_ignored": "The pipeline ignores pull requests from forks.",
    "forks_not_supported": "The local cluster runs no code of pull requests from forks.",
    "command_failed": "What is stored about the run cannot be read by this release. It has been logged.",
    "unknown_command": "A scheduler of an earlier release does not know this command. Try again.",
    "already_finished": "The run is over.",
    "disabled": "The pipeline is disabled.",
    "event": "The pipeline has no `on.manual`, so its runs are not started by users.",
    "not_manual": "The pipeline has no `on.manual`, so its runs are not started by users.",
    "inputs_invalid": "The inputs are not valid for the pipeline's newest revision.",
    "owner_not_maintainer": "The pipeline's owner is no longer a maintainer of the repository.",
    "pipeline_deleted": "The pipeline has been deleted.",
    "ref_gone": "The repository has no such branch or tag.",
    "ref_not_resolved": "The repository's server could not be asked. The event's decision says why.",
    "repository": "The pipeline is not for this repository any more.",
    "repository_deleted": "The repository is no longer registered.",
    "repository_not_matched": "The pipeline is not for this repository any more.",
    "revision_unreadable": "This release can't read the pipeline's revision. Save the pipeline again and "
    "retry the latest.",
    "not_retryable": "Only a run that failed, was cancelled or ended with an error can be retried.",
    "sha_unreachable": "No branch or tag of the repository has this commit.",
}
"""The sentences for the reasons of refusals."""


def idempotency_key(request: web.Request) -> str | None:
    """Return the key of the request, or None. Raises Problem 422."""
    key = request.headers.get(IDEMPOTENCY_KEY.name)
    if key is not None and not re.fullmatch(IDEMPOTENCY_KEY.pattern, key):
        raise invalid(
            "header.Idempotency-Key", "pattern", "1 to 200 printable characters without spaces are needed"
        )
    return key


def accepted(command: Any) -> web.Response:
    """Return the answer for a command that has no effect yet."""
    return json_answer(Command.of(command), 202, {"Location": f"/commands/{command['id']}"})


async def show(call: Call[NoBody, NoFilters]) -> web.Response:
    async with call.gateway.store.reading() as work:
        row = await work.command(call.id, call.caller)
    if row is None:
        raise not_found()
    return json_answer(Command.of(row))


ROUTES = (
    Route(
        method="GET",
        path="/commands/{id}",
        handler=show,
        summary="A command of yours and its effect.",
        answers={200: Answer("The command.", Command)},
    ),
)
