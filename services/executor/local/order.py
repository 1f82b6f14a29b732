"""What an executor tells a supervisor: everything, once, through inherited memory.

No part of it is ever a file or on a command line.
"""

import json
from dataclasses import dataclass

from services.executor.checkout import Commit


@dataclass(frozen=True, slots=True)
class Runner:
    """How a process of a pod is started."""

    prefix: tuple[str, ...] = ()
    """The sandbox: a command that runs the command behind it, as its user. Empty: none."""
    user: tuple[int, int] | None = None
    """uid and gid to take on without a sandbox; None: the supervisor's own."""
    owner: tuple[int, int] | None = None
    """Who owns what such a process may write; None: the supervisor's user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneOrder(Commit):
    seconds: float
    runner: Runner


@dataclass(frozen=True, slots=True)
class Order:
    """A pod to be."""

    pods: str
    name: str
    uid: str
    attempt_id: int
    creation_token: str
    driver: str
    """The step driver, with all that the job's variables hold."""
    clone: CloneOrder | None
    runner: Runner
    job_seconds: float
    run_seconds: float
    """Counted from the release, clone and all."""
    grace_seconds: float
    gate_seconds: float
    memory_bytes: int | None = None
    """What the job's processes may use together."""
    processes: int | None = None
    """How many processes and threads the job's user may have, in all of its pods."""
    own_network: bool = False
    """Whether user code runs in the network namespace of the fork server's jobs. The clone never does."""
    warnings: tuple[str, ...] = ()
    """For people, about how the job runs here: one line each."""

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """What `orjson.dumps(order)` wrote: a supervisor has only the standard library in memory."""
        values = json.loads(data)
        clone = values["clone"]
        if clone is not None:
            values["clone"] = CloneOrder(**{**clone, "runner": _runner(clone["runner"])})
        values["runner"] = _runner(values["runner"])
        values["warnings"] = tuple(values["warnings"])
        return cls(**values)


NETWORK = b"network"
"""In a request to the fork server: its content is a NetworkOrder."""


@dataclass(frozen=True, slots=True)
class NetworkOrder:
    """The network that jobs are to have."""

    program: str
    """Connects it with the world."""
    prefix: tuple[str, ...]
    """A sandbox that has to work in it, as in `Runner`."""

    @classmethod
    def decode(cls, data: bytes) -> "NetworkOrder":
        values = json.loads(data)
        return cls(values["program"], tuple(values["prefix"]))


def _runner(values: dict[str, list[str] | list[int] | None]) -> Runner:
    fields = {name: None if value is None else tuple(value) for name, value in values.items()}
    return Runner(**fields)  # type: ignore[arg-type]  # JSON has no tuples
