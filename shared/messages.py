"""The messages on the bus: facts in the past tense, and doorbells for stored commands.

They carry ids, never truth.

Readers ignore unknown fields. A meaning never changes: a new meaning is a new type, published one release
after it can be read.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, ClassVar, Literal
from uuid import uuid4

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    must_route: ClassVar[bool] = True
    """Whether somebody has to be listening.

    False: only open requests and live views care, and they look again by themselves.
    """
    ids_field: ClassVar[str] = ""
    """The field that says of what, where two messages of one routing key may become one that says it of both.
    """

    type: str
    id: str = Field(default_factory=lambda: uuid4().hex)
    occurred_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    traceparent: str | None = None

    @property
    def routing_key(self) -> str:
        """The type; with the cluster behind it where one cluster's executor is meant."""
        cluster = getattr(self, "cluster", None)
        return f"{self.type}.{cluster}" if cluster else self.type


class DeliveryAccepted(_Message):
    """Deliveries are stored; `deliveries.id` of each."""

    ids_field: ClassVar[str] = "delivery_ids"
    type: Literal["delivery.accepted"] = "delivery.accepted"
    delivery_ids: tuple[int, ...]


class DeliveryKept(_Message):
    """A delivery accepted while Postgres was away, whole: the one message that is no doorbell.

    Only `deliveries.inlet` carries it, from gateway to gateway.
    """

    type: Literal["delivery.kept"] = "delivery.kept"
    source: str
    delivery_id: str
    event_type: str
    headers: dict[str, str]
    body: str
    """base64 of the zstd of the raw bytes"""
    body_sha256: str
    body_bytes: int
    hook_key: str | None = None
    received_at: datetime


class CommandRequested(_Message):
    """Commands are stored."""

    ids_field: ClassVar[str] = "command_ids"
    type: Literal["command.requested"] = "command.requested"
    command_ids: tuple[int, ...]


class CommandApplied(_Message):
    """Commands have their effect."""

    must_route: ClassVar[bool] = False
    ids_field: ClassVar[str] = "command_ids"
    type: Literal["command.applied"] = "command.applied"
    command_ids: tuple[int, ...]


class RunCreated(_Message):
    """Runs exist."""

    must_route: ClassVar[bool] = False
    ids_field: ClassVar[str] = "run_ids"
    type: Literal["run.created"] = "run.created"
    run_ids: tuple[int, ...]


class RunStarted(_Message):
    """The first job of each of these runs is running."""

    must_route: ClassVar[bool] = False
    ids_field: ClassVar[str] = "run_ids"
    type: Literal["run.started"] = "run.started"
    run_ids: tuple[int, ...]


class RunFinished(_Message):
    """Runs have their verdict."""

    must_route: ClassVar[bool] = False
    ids_field: ClassVar[str] = "run_ids"
    type: Literal["run.finished"] = "run.finished"
    run_ids: tuple[int, ...]


class AttemptReady(_Message):
    """Jobs are admitted: (job id, attempt number) of each."""

    type: Literal["attempt.ready"] = "attempt.ready"
    cluster: str
    jobs: tuple[tuple[int, int], ...]


class AttemptCancelRequested(_Message):
    """Attempts are to stop: (job id, attempt number) of each.

    The wish is stored in `jobs.cancel_requested_at`.
    """

    type: Literal["attempt.cancel_requested"] = "attempt.cancel_requested"
    cluster: str
    jobs: tuple[tuple[int, int], ...]


class AttemptClaimed(_Message):
    """User code of these attempts may start."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["attempt.claimed"] = "attempt.claimed"
    attempt_ids: tuple[int, ...]


class AttemptFinished(_Message):
    """These attempts have their verdict."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["attempt.finished"] = "attempt.finished"
    attempt_ids: tuple[int, ...]


class ContainerStarted(_Message):
    """The containers of these attempts (`attempts.containers`) start to write logs."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["container.started"] = "container.started"
    attempt_ids: tuple[int, ...]


class LogSealed(_Message):
    """Every log stream of these attempts is sealed."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["log.sealed"] = "log.sealed"
    cluster: str
    attempt_ids: tuple[int, ...]


class LogAppended(_Message):
    """Segments are stored: (stream id, run id, the line after the last one stored) of each. Transient."""

    must_route: ClassVar[bool] = False
    type: Literal["log.appended"] = "log.appended"
    appended: tuple[tuple[int, int, int], ...]


Message = (
    DeliveryAccepted
    | DeliveryKept
    | CommandRequested
    | CommandApplied
    | RunCreated
    | RunStarted
    | RunFinished
    | AttemptReady
    | AttemptCancelRequested
    | AttemptClaimed
    | AttemptFinished
    | ContainerStarted
    | LogSealed
    | LogAppended
)

_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def merged(messages: Sequence[Message]) -> Message:
    """One message that says what all of these say, as the first of them.

    Several have one routing key and an `ids_field`.
    """
    first = messages[0]
    if len(messages) == 1:
        return first
    ids = dict.fromkeys(one for message in messages for one in getattr(message, first.ids_field))
    return first.model_copy(update={first.ids_field: tuple(ids)})


def encode(message: Message) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()


def decode(body: bytes) -> Message | None:
    """The message in these bytes; None for a type that this release does not know.

    Raises ValueError when the bytes are no message.
    """
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as error:
        if any(problem["type"] == "union_tag_invalid" for problem in error.errors()):
            return None
        raise ValueError(str(error)) from error


def type_of(body: bytes) -> str:
    """The type that these bytes claim, for logs; empty when they claim none."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    return str(document.get("type", "")) if isinstance(document, dict) else ""
