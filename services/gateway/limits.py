"""The limits of one gateway, each with unit and reason. The values come from the settings."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.gateway.settings import GatewaySettings


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit with its current value."""

    setting: str
    """The environment variable that sets it."""
    value: float
    unit: str
    reason: str


_LIMITS = (
    ("webhook_body_bytes", "bytes", "A webhook's body; of a form its payload. GitHub sends no more."),
    ("inlet_body_bytes", "bytes", "A webhook's body that is kept in RabbitMQ while PostgreSQL is away."),
    ("body_memory_bytes", "bytes", "Request bodies in memory at once; then they wait, and at last get 503."),
    ("body_reserve_bytes", "bytes", "Of these, for bodies of at most 1 MiB alone."),
    ("body_seconds", "seconds", "The time that a request's body may take to arrive."),
    (
        "body_bytes_per_second",
        "bytes per second",
        "A body that comes more slowly gives way while memory is short.",
    ),
    (
        "connections",
        "connections",
        "Open at once; a new one takes the place of the one that is idle the longest.",
    ),
    ("head_seconds", "seconds", "The time that a request's head may take to arrive."),
    ("idle_seconds", "seconds", "The time that a connection is kept for its next request."),
    ("send_seconds", "seconds", "The time that a client may read nothing of its answer."),
    ("pipeline_checks", "documents", "Pipelines that are read or wait for it at once; then 503."),
    ("pipeline_checks_per_user", "documents", "The same of one user."),
    ("pipeline_check_seconds", "seconds", "The time that reading one pipeline may take; then 503."),
    ("pattern_steps", "steps", "Comparing globs in a preview, for one event; as in the scheduler."),
    (
        "pipelines_per_user",
        "pipelines",
        "Each push of a repository is compared with all that name it; then 409.",
    ),
    ("tokens_per_user", "tokens", "Valid ones; then 409."),
    ("secret_bytes", "bytes", "The value of a secret; then 422."),
    ("secrets_per_repository", "secrets", "Of one repository; then 409."),
    ("live_streams", "streams", "Open streams and downloads of logs; at most half of the connections."),
    ("live_streams_per_user", "streams", "The same of one user; then 429."),
    ("body_retention_days", "days", "The time that bodies of deliveries are kept."),
)


def limits_of(settings: GatewaySettings) -> Iterator[Limit]:
    for field, unit, reason in _LIMITS:
        yield Limit(f"TOWPATH_{field.upper()}", getattr(settings, field), unit, reason)
