"""Builds the OpenAPI 3.1 document from the routes and from the models that validate the requests."""

from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from services.gateway.http.endpoint import TEXT_PARAMETERS
from services.gateway.http.fields import BIGGEST_ID
from services.gateway.http.problems import CONTENT_TYPE, ProblemDetails
from services.gateway.http.routing import Answer, HeaderParameter, Route

_TEXT = {"type": "string"}
_EVENT = {
    "type": "object",
    "description": "Data is JSON. lines: {stream, job, attempt, container, first_line, lines}; step: "
    "{stream, …, line, phase, index, name or exit_code}; "
    "status and end: {status, reason}.",
    "properties": {"id": _TEXT, "event": {"enum": ["lines", "step", "status", "end"]}, "data": _TEXT},
}
"""The schema of one event of a text/event-stream."""
_UNMODELLED = {"text/event-stream": _EVENT, "application/schema+json": {"type": "object"}}
"""The schemas of bodies that no model describes, by content type. The others are text."""
_REF = "#/components/schemas/{model}"

Schema = dict[str, Any]


class _Schemas:
    """The JSON schemas of all models, separately for requests and answers."""

    def __init__(self, routes: Sequence[Route]) -> None:
        inputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
            (route.body, "validation") for route in routes if route.body
        ]
        outputs: list[tuple[type[BaseModel], JsonSchemaMode]] = [
            (answer.model, "serialization")
            for route in routes
            for answer in route.answers.values()
            if answer.model
        ]
        outputs.append((ProblemDetails, "serialization"))
        wanted: list[tuple[type[BaseModel], JsonSchemaMode]] = list(dict.fromkeys(inputs + outputs))
        self._refs, document = models_json_schema(wanted, ref_template=_REF)
        self.definitions: Schema = document.get("$defs", {})

    def input(self, model: type[BaseModel]) -> Schema:
        return self._refs[(model, "validation")]

    def output(self, model: type[BaseModel]) -> Schema:
        return self._refs[(model, "serialization")]


def build_document(routes: Sequence[Route], version: str) -> Schema:
    """Return the complete OpenAPI document."""
    schemas = _Schemas(routes)
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Towpath",
            "version": version,
            "description": "CI/CD that loses nothing, doubles nothing and explains every verdict. Errors "
            "are problem details (RFC 9457).",
        },
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "tp_…",
                    "description": "A token of POST /tokens.",
                }
            },
        },
        "tags": [{"name": tag} for tag in dict.fromkeys(route.tag for route in routes)],
    }


def _operation(route: Route, schemas: _Schemas) -> Schema:
    operation: Schema = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [route.tag],
        "security": [{"token": []}] if route.scope else [],
        "responses": _responses(route, schemas),
    }
    parameters = [*_path_parameters(route), *_query_parameters(route), *map(_header_parameter, route.headers)]
    if parameters:
        operation["parameters"] = parameters
    if route.body:
        types = (
            ["application/json"] if route.scope else ["application/json", "application/x-www-form-urlencoded"]
        )
        schema = schemas.input(route.body)
        operation["requestBody"] = {
            "required": not route.is_body_optional,
            "content": {name: {"schema": schema} for name in types},
        }
    return operation


def _operation_id(route: Route) -> str:
    words = [part.strip("{}") for part in route.path.split("/") if part]
    return "_".join([route.method.lower(), *words]).replace("-", "_").replace(".", "_")


def _responses(route: Route, schemas: _Schemas) -> Schema:
    responses: Schema = {}
    for status, answer in sorted(route.answers.items()):
        responses[str(status)] = _answer(answer, schemas)
    problem = {"schema": schemas.output(ProblemDetails)}
    for status in sorted(route.problem_statuses()):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {CONTENT_TYPE: problem},
        }
    return responses


def _answer(answer: Answer, schemas: _Schemas) -> Schema:
    shown: Schema = {"description": answer.description}
    if answer.model is not None:
        shown["content"] = {answer.content_type: {"schema": schemas.output(answer.model)}}
    elif answer.content_type != "application/json":
        shown["content"] = {answer.content_type: {"schema": _UNMODELLED.get(answer.content_type, _TEXT)}}
    if answer.headers:
        shown["headers"] = {
            name: {"description": text, "schema": _TEXT} for name, text in answer.headers.items()
        }
    return shown


def _path_parameters(route: Route) -> Iterable[Schema]:
    for name in route.parameters:
        schema: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": BIGGEST_ID}
        if name in TEXT_PARAMETERS:
            schema = {"type": "string", "minLength": 1, "maxLength": 200}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(route: Route) -> Iterable[Schema]:
    document = route.query.model_json_schema()
    definitions = document.get("$defs", {})
    for name, found in document.get("properties", {}).items():
        schema = _not_null(found, definitions)
        description = schema.pop("description", None)
        parameter: Schema = {
            "name": name,
            "in": "query",
            "required": name in document.get("required", ()),
            "schema": schema,
        }
        if description:
            parameter["description"] = description
        yield parameter


def _not_null(schema: Schema, definitions: Schema) -> Schema:
    """Remove null from the schema of a parameter. A URL cannot contain null; the parameter is absent."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
    shown = {
        key: value
        for key, value in schema.items()
        if key not in {"anyOf", "title", "default"} or (key == "default" and value is not None)
    }
    for choice in choices[:1]:
        shown |= choice
    if "$ref" in shown:
        shown |= definitions[shown.pop("$ref").rpartition("/")[2]]
        shown.pop("title", None)
    return shown


def _header_parameter(header: HeaderParameter) -> Schema:
    schema = {"type": "string", "pattern": header.pattern} if header.pattern else _TEXT
    return {
        "name": header.name,
        "in": "header",
        "required": header.is_required,
        "description": header.description,
        "schema": schema,
    }
