"""Tests of the table of routes and of the OpenAPI document made from it."""

from collections import Counter

from openapi_spec_validator import OpenAPIV31SpecValidator

from services.gateway.http.openapi import build_document
from services.gateway.routes import ROUTES

DOCUMENT = build_document(ROUTES, "1")


def test_the_document_is_valid() -> None:
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_a_route_is_there_once_and_served_in_one_way() -> None:
    assert max(Counter((route.method, route.path) for route in ROUTES).values()) == 1
    for route in ROUTES:
        assert (route.handler is None) != (route.direct is None)
        assert (route.scope is None) == (route.direct is not None)


def test_every_operation_tells_its_errors() -> None:
    for route in ROUTES:
        responses = DOCUMENT["paths"][route.path][route.method.lower()]["responses"]
        if route.scope:
            assert {"401", "403", "422", "503"} <= set(responses)
        if route.body:
            assert {"400", "413", "415", "422"} <= set(responses)
        if "{" in route.path and route.scope:
            assert "404" in responses


def test_what_changes_something_needs_more_than_a_token_for_reading() -> None:
    checks = ("/pipelines/validate", "/pipelines/preview", "/pipelines/{id}/preview")
    harmless = {("POST", path) for path in checks}
    for route in ROUTES:
        if route.method != "GET" and route.scope and (route.method, route.path) not in harmless:
            assert route.scope != "read", route.path
