"""Values of events without a delivery, as the store returns them."""

from dataclasses import dataclass

from shared.events import Event


@dataclass(frozen=True, slots=True)
class Subject:
    """The pipeline and the repository that an event without a delivery is for."""

    revision_id: int
    enabled: bool
    pipeline_deleted: bool
    repository_deleted: bool
    owner_may_use: bool
    names: tuple[str, ...]
    """The repository's current name, then the registered one if it differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """An event whose ref was resolved and that is not decided yet."""

    event_id: int
    event: Event
    inputs: dict[str, str]
    pipeline_config_id: int
    repository_id: int
    command_id: int | None
    traceparent: str | None
    triggered_by: str
    outcome: str
    resolved_sha: str | None
    resolved_message: str
