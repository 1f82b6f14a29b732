"""All routes of the gateway, in the order of the OpenAPI document. Tests are generated from this table."""

from services.gateway.api import (
    audit,
    clusters,
    commands,
    dead_letters,
    deliveries,
    docs,
    encryption,
    events,
    grants,
    limits,
    logs,
    pipelines,
    previews,
    repositories,
    runs,
    schema,
    secrets,
    sign_in_links,
    starts,
    tokens,
    users,
    webhooks,
)
from services.gateway.http.routing import Route

_SUBJECTS = (
    webhooks,
    pipelines,
    previews,
    starts,
    runs,
    logs,
    commands,
    events,
    deliveries,
    dead_letters,
    repositories,
    grants,
    secrets,
    encryption,
    users,
    tokens,
    sign_in_links,
    audit,
    limits,
    clusters,
    schema,
    docs,
)

ROUTES: tuple[Route, ...] = tuple(route for subject in _SUBJECTS for route in subject.ROUTES)
