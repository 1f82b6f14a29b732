"""All routes of the gateway, in the order of the OpenAPI document. Tests are generated from this table."""

from services.gateway.api import (
    audit,
    commands,
    dead_letters,
    deliveries,
    docs,
    events,
    grants,
    limits,
    logs,
    pipelines,
    previews,
    repositories,
    runs,
    schema,
    tokens,
    users,
    webhooks,
)
from services.gateway.http.routing import Route

_SUBJECTS = (
    webhooks,
    pipelines,
    previews,
    runs,
    logs,
    commands,
    events,
    deliveries,
    dead_letters,
    repositories,
    grants,
    users,
    tokens,
    audit,
    limits,
    schema,
    docs,
)

ROUTES: tuple[Route, ...] = tuple(route for subject in _SUBJECTS for route in subject.ROUTES)
