"""The page of a pipeline: its YAML, its revisions, and the editor with every error of a save."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web

from services.gateway.api.pipelines import BODY_BYTES
from services.gateway.http.problems import Fault, Problem
from services.gateway.web.asking import ask
from services.gateway.web.pages import Page, Visit, see_other

_FORM_BYTES = 3 * BODY_BYTES
"""Each character of a YAML text may take three bytes in a form."""


async def show(visit: Visit) -> web.Response:
    return await _page(visit)


async def _page(
    visit: Visit, status: int = 200, draft: str | None = None, faults: Sequence[Fault] = ()
) -> web.Response:
    answer = await ask(visit, "GET /pipelines/{id}", id=visit.id)
    pipeline: Any = answer.json
    revisions = (await ask(visit, "GET /pipelines/{id}/revisions", query={"limit": "20"}, id=visit.id)).json
    runs = (await ask(visit, "GET /runs", query={"limit": "10", "pipeline_config_id": str(visit.id)})).json
    wanted = visit.query.get("revision")
    revision = next((one for one in revisions["items"] if str(one["number"]) == wanted), None)
    return visit.page(
        "pipeline.html",
        status,
        pipeline=pipeline,
        version=answer.version,
        revisions=revisions["items"],
        revision=revision,
        runs=runs["items"],
        lines=(revision or pipeline)["yaml_config"].split("\n"),
        draft=pipeline["yaml_config"] if draft is None else draft,
        faults=faults,
        is_draft=draft is not None,
    )


async def save(visit: Visit) -> web.Response:
    draft = visit.form.get("yaml_config", "")
    try:
        await ask(
            visit,
            "PUT /pipelines/{id}",
            body={"yaml_config": draft},
            if_match=visit.form.get("version"),
            id=visit.id,
        )
    except Problem as problem:
        if problem.status not in {412, 422}:
            raise
        faults = problem.errors or [Fault(path="", code=problem.code, message=problem.detail)]
        return await _page(visit, problem.status, draft, faults)
    return see_other(f"/ui/pipelines/{visit.id}")


async def switch(visit: Visit) -> web.Response:
    enabled = visit.form.get("enabled") == "true"
    await ask(visit, "PUT /pipelines/{id}", body={"enabled": enabled}, id=visit.id)
    return see_other(f"/ui/pipelines/{visit.id}")


PAGES = (
    Page(path="/ui/pipelines/{id}", handler=show),
    Page(path="/ui/pipelines/{id}", handler=save, method="POST", body_bytes=_FORM_BYTES),
    Page(path="/ui/pipelines/{id}/enabled", handler=switch, method="POST"),
)
