"""Reading position in a log that is read through the API server, and its stored cursor."""

from dataclasses import dataclass

from services.logsink.api_log import Tail
from services.logsink.sources import Cursor


@dataclass(frozen=True, slots=True)
class Place:
    """Position up to which a log was read."""

    tail: Tail | None = None
    read_bytes: int = 0
    restarts: int = 0
    """Restart count of the container when the tail was printed."""

    @classmethod
    def from_cursor(cls, cursor: Cursor | None) -> "Place":
        if cursor is None:
            return cls()
        digests = bytes.fromhex(cursor["digests"])
        stamps = cursor["stamp"].encode(), cursor["greatest"].encode()
        tail = Tail(*stamps, cursor["run"], tuple(digests[at : at + 6] for at in range(0, len(digests), 6)))
        return cls(tail, cursor["bytes"], cursor["restarts"])

    def cursor(self) -> Cursor | None:
        if self.tail is None:
            return None
        stamps = {
            "stamp": self.tail.stamp.decode(),
            "greatest": self.tail.greatest.decode(),
            "run": self.tail.run,
        }
        return stamps | {
            "digests": b"".join(self.tail.digests).hex(),
            "bytes": self.read_bytes,
            "restarts": self.restarts,
        }
