"""How a message handler says what went wrong; `shared.bus` decides by the kind what becomes of the message.

Any other exception is a bug: traceback, bounded redelivery, dead letter.
"""


class Rejected(Exception):
    """Nothing will ever make this message right: it goes to the dead letters."""

    def __init__(self, code: str, **ids: object) -> None:
        super().__init__(code, ids)
        self.code = code
        self.ids = ids

    def __str__(self) -> str:
        return " ".join([self.code, *(f"{name}={value}" for name, value in self.ids.items())])


class Transient(Exception):
    """Something the handler needs is away (database, broker, cluster): the same handler is tried again in
    place.
    """


class Conflict(Exception):
    """The message is stale: somebody was here before. It is dropped quietly."""
