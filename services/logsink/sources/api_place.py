"""Where in a container's log through the API server reading stands, and the cursor that is stored of it.

Pure.
"""

from dataclasses import dataclass

from services.logsink.api_log import Tail
from services.logsink.sources import Cursor


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the log reading stands."""

    tail: Tail | None = None
    read_bytes: int = 0
    restarts: int = 0
    """Which start of the container the tail is of."""

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
