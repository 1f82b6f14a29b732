"""Errors that message handlers raise. `shared.messaging.consumer` settles the message by the kind of error.

Every other exception counts as a bug. It is logged with its traceback; the message is redelivered a limited
number of times and then becomes a dead letter.
"""


class Rejected(Exception):
    """The message can never be handled. It becomes a dead letter at once."""

    def __init__(self, code: str, **ids: object) -> None:
        super().__init__(code, ids)
        self.code = code
        self.ids = ids

    def __str__(self) -> str:
        return " ".join([self.code, *(f"{name}={value}" for name, value in self.ids.items())])


class Transient(Exception):
    """A dependency (database, broker, cluster) is unavailable.

    The consumer keeps the message and calls the same handler again.
    """


class Conflict(Exception):
    """The message is stale because its work was already done. It is acknowledged without further action."""
