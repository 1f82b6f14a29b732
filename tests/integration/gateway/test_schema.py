"""The gateway serves the JSON Schema of pipelines to everyone, and clients can keep it."""

import pytest
from jsonschema import Draft202012Validator

from shared.pipeline.schema import json_schema
from tests.integration.gateway.serving import Serving

PATH = "/schema/pipeline.json"


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def test_the_schema_needs_no_token(served: Serving) -> None:
    for client in (served.anonymous, served.admin, served.admin.as_("nonsense")):
        answer = (await client.get(PATH)).expect(200)
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json == json_schema()
        Draft202012Validator.check_schema(answer.json)


async def test_the_schema_may_be_kept_and_asked_for_again(served: Serving) -> None:
    answer = (await served.anonymous.get(PATH)).expect(200)
    assert answer.headers["cache-control"] == "public, max-age=300"
    etag = answer.headers["etag"]
    for same in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        kept = (await served.anonymous.get(PATH, headers={"If-None-Match": same})).expect(304)
        assert (kept.raw, kept.headers["etag"]) == (b"", etag)
        assert kept.headers["cache-control"] == answer.headers["cache-control"]
    for other in ('"other"', "", etag.strip('"')):
        (await served.anonymous.get(PATH, headers={"If-None-Match": other})).expect(200)


async def test_head_answers_with_the_headers_alone(served: Serving) -> None:
    whole = (await served.anonymous.get(PATH)).expect(200)
    head = (await served.anonymous.request("HEAD", PATH)).expect(200)
    assert head.raw == b""
    assert {name: head.headers[name] for name in ("etag", "content-type", "content-length")} == {
        "etag": whole.headers["etag"],
        "content-type": "application/schema+json",
        "content-length": str(len(whole.raw)),
    }


async def test_the_reference_describes_the_schemas_answers(served: Serving) -> None:
    document = (await served.anonymous.get("/openapi.json")).expect(200).json
    described = document["paths"][PATH]["get"]
    assert described["security"] == []
    assert described["responses"]["200"]["content"] == {
        "application/schema+json": {"schema": {"type": "object"}}
    }
    assert set(described["responses"]) == {"200", "304"}
    assert [one["name"] for one in described["parameters"]] == ["If-None-Match"]
