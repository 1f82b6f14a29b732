"""Rules for all routes, tested for each entry of the table of routes."""

from typing import Any

import pytest

from services.gateway.http.routing import Route
from services.gateway.people import Scope
from services.gateway.routes import ROUTES
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import PIPELINE, Serving

GUARDED = [route for route in ROUTES if route.scope is not None]
OWNED = [route for route in GUARDED if route.parameters and route.scope is not Scope.ADMIN]
BODIES: dict[tuple[str, str], Any] = {
    ("POST", "/pipelines/{id}/runs"): {"branch": "main"},
    ("POST", "/pipelines"): {"name": "x", "yaml_config": PIPELINE.format(repository="octo/web")},
    ("POST", "/pipelines/validate"): {"yaml_config": ""},
    ("POST", "/pipelines/preview"): {"yaml_config": PIPELINE.format(repository="octo/web")},
    ("POST", "/pipelines/{id}/preview"): {"yaml_config": PIPELINE.format(repository="octo/web")},
    ("PUT", "/repositories/{id}/grants/{user_id}"): {"role": "viewer"},
    ("POST", "/tokens"): {"name": "x"},
    ("POST", "/users"): {"name": "x", "email": "x@example.org"},
    ("POST", "/repositories/{id}/secrets"): {"name": "DEPLOY_KEY", "value": "a long value"},
    ("PUT", "/repositories/{id}/secrets/{name}"): {"value": "a long value"},
    ("POST", "/secrets"): {"name": "DEPLOY_KEY", "value": "a long value"},
    ("POST", "/repositories"): {
        "full_name": "octo/other",
        "clone_url": "https://github.example/octo/other.git",
    },
}


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


def path_of(route: Route, values: dict[str, Any] | None = None) -> str:
    return route.path.format(**dict.fromkeys(route.parameters, 1) | (values or {}))


def body_of(route: Route) -> Any:
    return BODIES.get((route.method, route.path), {} if route.body else None)


@pytest.mark.parametrize("token", [None, "tp_", "nonsense", "tp_" + "0" * 36, "tp_" + "x" * 1_000_000])
async def test_no_route_answers_without_a_valid_token(served: Serving, token: str | None) -> None:
    for route in GUARDED:
        answer = await served.anonymous.as_(token).request(route.method, path_of(route), body_of(route))
        assert answer.status == 401, name_of(route)
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_no_route_shows_or_changes_what_is_somebody_elses(served: Serving, history: History) -> None:
    owner_id, owner = await served.person()
    _, stranger = await served.person(("read", "write"))
    repository = await served.repository()
    (
        await served.admin.put(f"/repositories/{repository['id']}/grants/{owner_id}", {"role": "maintainer"})
    ).expect(200)
    pipeline = await served.pipeline(owner)
    event_id = await history.event(repository["id"])
    run_id = await history.run(pipeline, repository["id"], event_id=event_id)
    command_id = (await owner.post(f"/runs/{run_id}/cancel")).expect(202).json["id"]
    (await served.deliver(b"{}", X_GitHub_Delivery="d-1")).expect(202)
    token_id = (await owner.get("/tokens")).json["items"][0]["id"]
    ids = {
        "pipelines": pipeline["id"], "runs": run_id, "commands": command_id, "events": event_id,
        "repositories": repository["id"], "tokens": token_id,
    }  # fmt: skip

    for route in OWNED:
        values = {"id": ids.get(route.tag), "user_id": owner_id, "delivery_id": "d-1"}
        answer = await stranger.request(route.method, path_of(route, values), body_of(route))
        nothing = await stranger.request(
            route.method,
            path_of(route, {"id": 999_999, "user_id": 999_999, "delivery_id": "nothing"}),
            body_of(route),
        )
        assert answer.status == 404, name_of(route)
        assert answer.raw == nothing.raw, name_of(route)

    (await owner.get(f"/pipelines/{pipeline['id']}")).expect(200)
    (await owner.get(f"/runs/{run_id}")).expect(200)


async def test_what_administrators_do_is_refused_to_others(served: Serving) -> None:
    _, person = await served.person()
    for route in GUARDED:
        if route.scope is Scope.ADMIN:
            assert (await person.request(route.method, path_of(route), body_of(route))).status == 403, (
                name_of(route)
            )


async def test_a_token_for_reading_changes_nothing(served: Serving) -> None:
    _, reader = await served.person(("read",))
    for route in GUARDED:
        if route.scope is not Scope.READ:
            assert (await reader.request(route.method, path_of(route), body_of(route))).status == 403, (
                name_of(route)
            )


@pytest.mark.parametrize(
    "id_text", ["0", "-1", "x", "1.0", "9223372036854775808", "9" * 40, "%00", "%D9%A1", "1e3", " 1"]
)
async def test_an_id_that_no_row_can_have_is_not_found(served: Serving, id_text: str) -> None:
    for route in GUARDED:
        if "id" in route.parameters:
            answer = await served.admin.request(route.method, path_of(route, {"id": id_text}), body_of(route))
            assert answer.status == 404, name_of(route)


async def test_unknown_query_parameters_are_refused_everywhere(served: Serving) -> None:
    for route in GUARDED:
        answer = await served.admin.request(route.method, path_of(route) + "?nonsense=1", body_of(route))
        assert answer.status == 422, name_of(route)
        assert answer.json["errors"][0]["path"] == "query.nonsense"


async def test_another_method_is_answered_with_those_that_there_are(served: Serving) -> None:
    for path in {route.path for route in ROUTES}:
        methods = {route.method for route in ROUTES if route.path == path}
        answer = await served.admin.request(
            "TRACE", path_of(next(route for route in ROUTES if route.path == path), {"hook_key": "x"})
        )
        answer.expect(405)
        assert {word.strip() for word in answer.headers["allow"].split(",")} - {"HEAD"} == methods
        assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/pipelines/",
        "/pipelines/1/nothing",
        "/assets/../settings.py",
        "/assets/nothing.js",
        "/%ff%00",
    ],
)
async def test_an_unknown_path_is_a_problem_too(served: Serving, path: str) -> None:
    answer = (await served.admin.get(path)).expect(404)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400), (b"{", 400), (b"\xff", 400), (b"[" * 100_000, 400), (b'{"name": NaN}', 422), (b"[]", 422),
        (b'"x"', 422), (b"null", 422), (b"{}", 422),
        (b'{"yaml_config": 1}', 422), (b'{"yaml_config": "", "x": 1}', 422),
        (b'{"yaml_config": "\\u0000"}', 422), (b'{"yaml_config": "\\ud800"}', 422),
        (b'{"yaml_config": "\\udc00 x"}', 422), (b'{"yaml_config": "a", "yaml_config": "b"}', 200),
    ],
)  # fmt: skip
async def test_odd_bodies_get_a_clear_answer(served: Serving, body: bytes, status: int) -> None:
    (await served.admin.post("/pipelines/validate", raw=body)).expect(status)


async def test_the_body_has_to_be_json(served: Serving) -> None:
    (await served.admin.post("/pipelines", raw=b"{}", headers={"Content-Type": "text/plain"})).expect(415)


async def test_only_the_usual_expectation_is_met(served: Serving) -> None:
    (
        await served.admin.post(
            "/pipelines/validate", {"yaml_config": ""}, headers={"Expect": "100-continue"}
        )
    ).expect(200)
    (
        await served.admin.post("/pipelines/validate", {"yaml_config": ""}, headers={"Expect": "miracles"})
    ).expect(417)
