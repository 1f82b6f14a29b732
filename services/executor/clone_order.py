"""What the program of the container `clone` is told, once, in a file that only it can see. Pure."""

import json
from dataclasses import dataclass

from services.executor.checkout import Commit


@dataclass(frozen=True, slots=True)
class Order:
    """A commit, and where everything is."""

    commit: Commit
    workspace: str
    """Made anew."""
    started: str
    """A folder whose existence says that user code has begun."""
    termination: str
    seconds: float

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """What `encode` wrote."""
        values = json.loads(data)
        return cls(**{**values, "commit": Commit(**values["commit"])})

    def encode(self) -> bytes:
        commit = {name: getattr(self.commit, name) for name in Commit.__slots__}
        return json.dumps(
            {**{name: getattr(self, name) for name in Order.__slots__}, "commit": commit}
        ).encode()
