"""All routes of the gateway, in the order of the OpenAPI document. Tests are generated from this table."""

from services.gateway.api import (
    commands,
    dead_letters,
    deliveries,
    docs,
    events,
    grants,
    limits,
    logs,
    pipelines,
    repositories,
    runs,
    schema,
    sign_in_links,
    tokens,
    users,
    webhooks,
)
from services.gateway.http.routing import Route

_SUBJECTS = (
    webhooks,
    pipelines,
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
    sign_in_links,
    limits,
    schema,
    docs,
)

ROUTES: tuple[Route, ...] = tuple(route for subject in _SUBJECTS for route in subject.ROUTES)
