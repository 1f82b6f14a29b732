"""The routes beside the API's objects: health, metrics, the OpenAPI document and its page.

Every other address is answered with a problem.
"""

import re

import pytest

from shared.pipeline.schema import json_schema
from tests.harness.coverage import covers
from tests.harness.installation import Towpath

SERVICES = ("gateway", "scheduler", "executor", "logsink")


@pytest.mark.parametrize("service", SERVICES)
async def test_every_service_tells_how_it_is(towpath: Towpath, service: str) -> None:
    client = type(towpath.admin)(towpath.session, towpath.stack.address(service))
    assert (await client.get("/healthz")).expect(200).json == {"status": "ok", "service": service}
    ready = (await client.get("/readyz")).expect(200).json
    assert ready["status"] == "ready"
    assert ready["checks"]
    assert all(ready["checks"].values())
    metrics = (await client.get("/metrics")).expect(200)
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "towpath_" in metrics.text


async def test_metrics_count_what_happens(towpath: Towpath) -> None:
    async def refused() -> float:
        text = (await towpath.admin.as_(None).get("/metrics")).expect(200).text
        found = re.search(
            r'^towpath_webhooks_refused_total\{source="github",status="401"\} (\S+)$', text, re.MULTILINE
        )
        return float(found[1]) if found else 0

    before = await refused()
    (await towpath.deliver({"zen": "x"}, secret="wrong")).expect(401)
    assert await refused() >= before + 1


@covers("GET /limits 200")
async def test_anybody_with_a_token_sees_the_limits_in_force(towpath: Towpath) -> None:
    person = await towpath.person()
    limits = {one["setting"]: one for one in (await person.client.get("/limits")).expect(200).json["items"]}
    assert limits["TOWPATH_WEBHOOK_BODY_BYTES"] == {
        "setting": "TOWPATH_WEBHOOK_BODY_BYTES",
        "value": 25 << 20,
        "unit": "bytes",
        "reason": "A webhook's body; of a form its payload. GitHub sends no more.",
    }


@covers("GET /docs 200")
async def test_the_page_of_the_api_loads_nothing_from_elsewhere(towpath: Towpath) -> None:
    nobody = towpath.admin.as_(None)
    page = (await nobody.get("/docs")).expect(200)
    assert page.headers["content-type"].startswith("text/html")
    assert page.headers["content-security-policy"].startswith("default-src 'none'")
    assert page.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"(?:src|href)=[\"'](?:https?:)?//", page.text)
    for address in re.findall(r"(?:src|href)=\"(/[^\"]+)\"", page.text):
        found = (await nobody.get(address)).expect(200)
        assert found.raw, address
        assert found.headers["content-type"].partition(";")[0] in {
            "text/css",
            "text/javascript",
            "application/json",
        }, address


@covers("GET /schema/pipeline.json 200 304")
async def test_an_editor_gets_the_schema_of_pipelines_without_a_token(towpath: Towpath) -> None:
    nobody = towpath.admin.as_(None)
    answer = (await nobody.get("/schema/pipeline.json")).expect(200)
    assert answer.headers["content-type"] == "application/schema+json"
    assert answer.json == json_schema()
    same = {"If-None-Match": answer.headers["etag"]}
    assert (await nobody.get("/schema/pipeline.json", headers=same)).expect(304).raw == b""


async def test_the_document_describes_this_api(towpath: Towpath) -> None:
    answer = (await towpath.admin.as_(None).get("/openapi.json")).expect(200)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["openapi"].startswith("3.1")
    assert len(answer.json["paths"]) >= 25


NOWHERE = [
    "/nothing",
    "/runs/1/nothing",
    "/runs/",
    "//runs",
    "/assets/nothing",
    "/assets/../app.py",
    "/assets/%2e%2e%2fapp.py",
    "/webhooks/sourceforge",
]


@pytest.mark.parametrize("path", NOWHERE)
async def test_what_is_not_there_is_a_problem(towpath: Towpath, path: str) -> None:
    answer = (await towpath.admin.get(path)).expect(404)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == 404


@pytest.mark.parametrize(
    "path",
    [
        "/runs",
        "/pipelines",
        "/runs/1",
        "/healthz",
        "/docs",
        "/schema/pipeline.json",
        "/openapi.json",
        "/webhooks/github",
    ],
)
async def test_a_method_that_a_path_does_not_have_is_named_with_those_it_has(
    towpath: Towpath, path: str
) -> None:
    for method in ("TRACE", "PROPFIND", "PATCH"):
        answer = (await towpath.admin.request(method, path)).expect(405)
        assert answer.headers["content-type"] == "application/problem+json"
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed
        assert allowed <= {"GET", "HEAD", "POST", "PUT", "DELETE"}


async def test_head_answers_as_get_without_a_body(towpath: Towpath) -> None:
    for path in ("/users/me", "/runs", "/docs", "/schema/pipeline.json", "/openapi.json", "/healthz"):
        get, head = await towpath.admin.get(path), await towpath.admin.request("HEAD", path)
        assert (head.status, head.raw) == (200, b"")
        assert head.headers["content-type"] == get.headers["content-type"]


async def test_errors_never_repeat_a_secret_that_was_sent(towpath: Towpath) -> None:
    body = {
        "full_name": "not a name",
        "clone_url": "https://github.example/x.git",
        "webhook_secret": "hunter22hunter22",
        "colour": "hunter33hunter33",
    }
    text = (await towpath.admin.post("/repositories", body)).expect(422).text
    assert "hunter" not in text
