"""All exchanges, queues and bindings on the bus.

All queues are quorum queues. Their messages may be lost at any time, because reconcilers read the tables. The
exception is `deliveries.inlet`, which holds the only copy of webhooks accepted while Postgres was
unavailable.
"""

from dataclasses import dataclass

from pamqp.common import FieldTable

EXCHANGE = "towpath"
DEAD_EXCHANGE = "towpath.dead"


@dataclass(frozen=True)
class Queue:
    """A queue and the routing keys that are bound to it."""

    name: str
    keys: tuple[str, ...]
    delivery_limit: int | None = 5  # only for crashes and bugs: a handler that waits keeps its message
    max_bytes: int | None = None  # a full queue refuses publishes
    is_dead: bool = False  # another queue's dead letters

    @property
    def dead_name(self) -> str:
        """The name of the queue for messages that cannot be handled."""
        return f"{self.name}.dead"

    @property
    def dead(self) -> "Queue":
        """The queue of its dead letters.

        `shared.messaging.bus.declare_queue` declares and binds it with this queue.
        """
        return Queue(self.dead_name, (), delivery_limit=None, is_dead=True)

    @property
    def arguments(self) -> FieldTable:
        if self.is_dead:
            return {"x-queue-type": "quorum"}
        arguments: FieldTable = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
        if self.delivery_limit is None:
            # No limit. Without the argument RabbitMQ 4 sets 20, and 3.10 has no value for "unlimited".
            arguments["x-delivery-limit"] = 2_000_000_000
        else:
            arguments |= {
                "x-delivery-limit": self.delivery_limit,
                "x-dead-letter-exchange": DEAD_EXCHANGE,
                "x-dead-letter-routing-key": self.dead_name,
                "x-dead-letter-strategy": "at-least-once",
            }
        if self.max_bytes is not None:
            arguments["x-max-length-bytes"] = self.max_bytes
        return arguments


INLET = Queue("deliveries.inlet", ("deliveries.inlet",), delivery_limit=None, max_bytes=1 << 30)
SCHEDULER_DELIVERIES = Queue("scheduler.deliveries", ("delivery.accepted",))
SCHEDULER_COMMANDS = Queue("scheduler.commands", ("command.requested", "ref.resolved"))
SCHEDULER_ATTEMPTS = Queue("scheduler.attempts", ("attempt.claimed", "attempt.finished"))
LOGSINK_CONTAINERS = Queue("logsink.containers", ("container.started", "attempt.finished"))
OUTBOX_UNREADABLE = Queue("outbox.unreadable", ("outbox.unreadable",))
"""Outbox rows that their service could not decode. People find them among the dead letters."""

FIXED = (
    INLET,
    SCHEDULER_DELIVERIES,
    SCHEDULER_COMMANDS,
    SCHEDULER_ATTEMPTS,
    LOGSINK_CONTAINERS,
    OUTBOX_UNREADABLE,
)
"""The queues that every service declares, so that a message finds its queue in any order of startup."""

LIVE_KEYS = ("command.applied", "run.*", "log.appended", "log.sealed.#")
"""The routing keys that are bound to each gateway's exclusive queue."""


def executor_queue(cluster: str) -> Queue:
    """Return the queue for the executors of one cluster. They declare it themselves."""
    kinds = ("attempt.ready", "attempt.cancel_requested", "log.sealed", "ref.wanted")
    keys = tuple(f"{kind}.{cluster}" for kind in kinds)
    return Queue(f"executor.{cluster}.attempts", keys)
