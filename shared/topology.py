"""Every exchange, queue and binding on the bus.

All queues are quorum queues. Their messages may be lost at any time, for reconcilers read the tables, with
one exception: `deliveries.inlet` holds the only copy of webhooks accepted while Postgres was away.
"""

from dataclasses import dataclass

from pamqp.common import FieldTable

EXCHANGE = "towpath"
DEAD_EXCHANGE = "towpath.dead"


@dataclass(frozen=True)
class Queue:
    """A queue and the routing keys that fill it."""

    name: str
    keys: tuple[str, ...]
    delivery_limit: int | None = 5  # crashes and bugs only: a handler that has to wait keeps its message
    max_bytes: int | None = None  # full: publishes are refused
    is_dead: bool = False  # another queue's dead letters

    @property
    def dead_name(self) -> str:
        """Where messages go that can't be handled."""
        return f"{self.name}.dead"

    @property
    def dead(self) -> "Queue":
        """The queue of its dead letters. Whoever declares this one binds it."""
        return Queue(self.dead_name, (), delivery_limit=None, is_dead=True)

    @property
    def arguments(self) -> FieldTable:
        if self.is_dead:
            return {"x-queue-type": "quorum"}
        arguments: FieldTable = {"x-queue-type": "quorum", "x-overflow": "reject-publish"}
        if self.delivery_limit is None:
            arguments["x-delivery-limit"] = (
                2_000_000_000  # none: RabbitMQ 4 would set 20, and 3.10 knows no word for "none"
            )
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
SCHEDULER_COMMANDS = Queue("scheduler.commands", ("command.requested",))
SCHEDULER_ATTEMPTS = Queue("scheduler.attempts", ("attempt.claimed", "attempt.finished"))
LOGSINK_CONTAINERS = Queue("logsink.containers", ("container.started", "attempt.finished"))
OUTBOX_UNREADABLE = Queue("outbox.unreadable", ("outbox.unreadable",))
"""What a service had stored to be published and can't read: for people, among the dead letters."""

FIXED = (
    INLET,
    SCHEDULER_DELIVERIES,
    SCHEDULER_COMMANDS,
    SCHEDULER_ATTEMPTS,
    LOGSINK_CONTAINERS,
    OUTBOX_UNREADABLE,
)
"""Declared by every service, so that the first message finds its queue whichever service starts first."""

LIVE_KEYS = ("command.applied", "run.*", "log.appended", "log.sealed.#")
"""What each gateway's exclusive queue is bound to."""


def executor_queue(cluster: str) -> Queue:
    """The queue of the executors of one cluster; they declare it."""
    keys = tuple(f"{kind}.{cluster}" for kind in ("attempt.ready", "attempt.cancel_requested", "log.sealed"))
    return Queue(f"executor.{cluster}.attempts", keys)
