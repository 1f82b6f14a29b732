"""The order for the program of the container `clone`: a file that only this container can read. Pure."""

import json
from dataclasses import dataclass

from services.executor.checkout import Commit


@dataclass(frozen=True, slots=True)
class Order:
    """A commit to clone, and the paths and the time limit of the clone."""

    commit: Commit
    workspace: str
    """The folder to clone into. The clone removes what an earlier try left there."""
    started: str
    """A folder whose existence means that user code has started."""
    termination: str
    seconds: float

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """Return the order that `encode` wrote."""
        values = json.loads(data)
        return cls(**{**values, "commit": Commit(**values["commit"])})

    def encode(self) -> bytes:
        commit = {name: getattr(self.commit, name) for name in Commit.__slots__}
        return json.dumps(
            {**{name: getattr(self, name) for name in Order.__slots__}, "commit": commit}
        ).encode()
