"""The order that an executor passes to a supervisor: all data, once, through inherited memory.

It is never passed through a file or on a command line.
"""

import json
from dataclasses import dataclass, field

from services.executor.checkout import Commit


@dataclass(frozen=True, slots=True)
class Runner:
    """The way in which a process of a pod is started."""

    prefix: tuple[str, ...] = ()
    """The sandbox: a command that runs the command after it as its user. Empty: no sandbox."""
    user: tuple[int, int] | None = None
    """uid and gid to switch to if there is no sandbox; None: those of the supervisor."""
    owner: tuple[int, int] | None = None
    """The owner of everything that the process may write; None: the supervisor's user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloneOrder(Commit):
    seconds: float
    runner: Runner


@dataclass(frozen=True, slots=True)
class Order:
    """The specification of a pod that is to be created."""

    pods: str
    name: str
    uid: str
    attempt_id: int
    creation_token: str
    driver: str = field(repr=False)
    """The step driver, including the values of the job's variables and secrets."""
    clone: CloneOrder | None
    runner: Runner
    job_seconds: float
    run_seconds: float
    """Time limit of clone and job together, counted from the release."""
    grace_seconds: float
    gate_seconds: float
    memory_bytes: int | None = None
    """Memory that the job's processes may use together."""
    processes: int | None = None
    """Number of processes and threads that the job's user may have, in all of its pods."""
    has_outputs: bool = False
    """True if the outputs of the job's steps are needed."""
    own_network: bool = False
    """True if user code runs in the fork server's network namespace for jobs. The clone never does."""
    warnings: tuple[str, ...] = ()
    """Warnings for users about how the job runs here: one line each."""

    @classmethod
    def decode(cls, data: bytes) -> "Order":
        """Parse the result of `orjson.dumps(order)`. A supervisor has only the standard library in memory."""
        values = json.loads(data)
        clone = values["clone"]
        if clone is not None:
            values["clone"] = CloneOrder(**{**clone, "runner": _runner(clone["runner"])})
        values["runner"] = _runner(values["runner"])
        values["warnings"] = tuple(values["warnings"])
        return cls(**values)


NETWORK = b"network"
"""Marks a request to the fork server whose content is a NetworkOrder."""


@dataclass(frozen=True, slots=True)
class NetworkOrder:
    """The network that jobs should have."""

    program: str
    """The program that connects the network with other machines."""
    prefix: tuple[str, ...]
    """A sandbox that must work in the network, as in `Runner`."""

    @classmethod
    def decode(cls, data: bytes) -> "NetworkOrder":
        values = json.loads(data)
        return cls(values["program"], tuple(values["prefix"]))


def _runner(values: dict[str, list[str] | list[int] | None]) -> Runner:
    fields = {name: None if value is None else tuple(value) for name, value in values.items()}
    return Runner(**fields)  # type: ignore[arg-type]  # JSON has no tuples
