"""The messages on the bus: facts in the past tense, and notifications of stored commands.

Messages carry ids; the data is in Postgres. Readers ignore unknown fields. The meaning of a type never
changes: a new meaning gets a new type, which is published one release after services can read it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal
from uuid import uuid4

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from shared.tracing import common, valid


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    must_route: ClassVar[bool] = True
    """True if a publish without any matching queue is an error.

    False for messages that only open requests and live views use. Those also check the tables periodically.
    """
    ids_field: ClassVar[str] = ""
    """The field that holds the message's ids, or empty.

    `merged` can combine messages that have the same routing key and an `ids_field`.
    """

    type: str
    id: str = Field(default_factory=lambda: uuid4().hex)
    occurred_at: datetime = Field(default_factory=lambda: datetime.now(UTC))
    traceparent: Annotated[str | None, BeforeValidator(valid)] = None
    """The trace of the work that sends it (W3C). None if it is unknown, or if there are several."""

    @property
    def routing_key(self) -> str:
        """The message's type. Messages for the executors of one cluster append `.` and the cluster's name."""
        cluster = getattr(self, "cluster", None)
        return f"{self.type}.{cluster}" if cluster else self.type


class DeliveryAccepted(_Message):
    """Webhook deliveries were stored. `delivery_ids` are ids of table `deliveries`."""

    ids_field: ClassVar[str] = "delivery_ids"
    type: Literal["delivery.accepted"] = "delivery.accepted"
    delivery_ids: tuple[int, ...]


class DeliveryKept(_Message):
    """A complete delivery that was accepted while Postgres was unavailable. It is the only copy.

    All other messages carry only ids. Gateways publish and consume this one, through the queue
    `deliveries.inlet` alone.
    """

    type: Literal["delivery.kept"] = "delivery.kept"
    source: str
    delivery_id: str
    event_type: str
    headers: dict[str, str]
    body: str
    """The raw bytes, compressed with zstd and encoded in base64."""
    body_sha256: str
    body_bytes: int
    hook_key: str | None = None
    received_at: datetime


class CommandRequested(_Message):
    """Commands were stored."""

    ids_field: ClassVar[str] = "command_ids"
    type: Literal["command.requested"] = "command.requested"
    command_ids: tuple[int, ...]


class CommandApplied(_Message):
    """Commands were applied, and their effects are stored."""

    must_route: ClassVar[bool] = False
    ids_field: ClassVar[str] = "command_ids"
    type: Literal["command.applied"] = "command.applied"
    command_ids: tuple[int, ...]


class RunCreated(_Message):
    """Runs were created."""

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
    """Runs have ended, and their verdicts are stored."""

    must_route: ClassVar[bool] = False
    ids_field: ClassVar[str] = "run_ids"
    type: Literal["run.finished"] = "run.finished"
    run_ids: tuple[int, ...]


class AttemptReady(_Message):
    """Jobs were admitted. `jobs` has the job id and attempt number of each."""

    type: Literal["attempt.ready"] = "attempt.ready"
    cluster: str
    jobs: tuple[tuple[int, int], ...]


class AttemptCancelRequested(_Message):
    """Attempts have to be stopped. `jobs` has the job id and attempt number of each.

    The request is stored in `jobs.cancel_requested_at`.
    """

    type: Literal["attempt.cancel_requested"] = "attempt.cancel_requested"
    cluster: str
    jobs: tuple[tuple[int, int], ...]


class AttemptClaimed(_Message):
    """Attempts were claimed, so their user code may start."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["attempt.claimed"] = "attempt.claimed"
    attempt_ids: tuple[int, ...]


class AttemptFinished(_Message):
    """Attempts have ended, and their verdicts are stored."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["attempt.finished"] = "attempt.finished"
    attempt_ids: tuple[int, ...]


class ContainerStarted(_Message):
    """Containers of these attempts (`attempts.containers`) start to write logs."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["container.started"] = "container.started"
    attempt_ids: tuple[int, ...]


class LogSealed(_Message):
    """All log streams of these attempts are sealed."""

    ids_field: ClassVar[str] = "attempt_ids"
    type: Literal["log.sealed"] = "log.sealed"
    cluster: str
    attempt_ids: tuple[int, ...]


class RefWanted(_Message):
    """Refs have to be resolved. `event_ids` are the events of table `ref_requests`."""

    ids_field: ClassVar[str] = "event_ids"
    type: Literal["ref.wanted"] = "ref.wanted"
    cluster: str
    event_ids: tuple[int, ...]


class RefResolved(_Message):
    """Refs were resolved, and the answers are stored in table `ref_resolutions`."""

    ids_field: ClassVar[str] = "event_ids"
    type: Literal["ref.resolved"] = "ref.resolved"
    event_ids: tuple[int, ...]


class LogAppended(_Message):
    """Log segments were stored. `appended` has stream id, run id and next line number of each.

    The broker does not store this message on disk.
    """

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
    | RefWanted
    | RefResolved
    | LogAppended
)

_ADAPTER: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def merged(messages: Sequence[Message]) -> Message:
    """Return one message with the ids of all these messages. It has their trace if they share one.

    Its other fields are those of the first message.
    If there are several messages, they must have the same routing key and an `ids_field`.
    """
    first = messages[0]
    if len(messages) == 1:
        return first
    ids = dict.fromkeys(one for message in messages for one in getattr(message, first.ids_field))
    trace = common(message.traceparent for message in messages)
    return first.model_copy(update={first.ids_field: tuple(ids), "traceparent": trace})


def encode(message: Message) -> bytes:
    return message.model_dump_json(exclude_none=True).encode()


def decode(body: bytes) -> Message | None:
    """Return the message in these bytes, or None if this release does not know its type.

    Raises ValueError if the bytes are not a message.
    """
    try:
        return _ADAPTER.validate_json(body)
    except ValidationError as error:
        if any(problem["type"] == "union_tag_invalid" for problem in error.errors()):
            return None
        raise ValueError(str(error)) from error


def type_of(body: bytes) -> str:
    """Return the type that these bytes state, for logs. Return an empty string if they state none."""
    return str(_document(body).get("type", ""))


def trace_of(body: bytes) -> str | None:
    """Return the valid `traceparent` that these bytes state, for logs, or None."""
    return valid(_document(body).get("traceparent"))


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
