"""What the executor asks of a cluster, and the values they exchange.

A cluster keeps attempts as pods that begin gated: user code of a pod runs only after `release`. Everything here may be repeated, by several executors at
once, and after a crash at any place; the cluster's own objects are the memory. No answer is never an answer: what can't be asked raises Transient.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from shared.pipeline.model import Job


class NameTaken(Exception):
    """An object with the attempt's name is not the attempt's: its creation token is another."""


class Refused(Exception):
    """This cluster will never run such a job; the text says why, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """Exactly one commit, from the clone URL that was registered. `sha` and `merge_sha` are hexadecimal."""

    url: str
    sha: str
    ref: str | None
    """Where the commit was seen, for servers that give out no commit by its SHA; starts with refs/."""
    merge_sha: str | None
    """Built instead where `sha` is among its parents."""
    depth: int
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """All that a cluster needs to run an attempt."""

    name: str
    """`tp-<installation>-<attempt id>`, of every object made for it."""
    attempt_id: int
    job_id: int
    run_id: int
    creation_token: str = field(repr=False)
    job: Job
    environment: Mapping[str, str] = field(repr=False)
    """What user code sees, beside HOME and PATH, which are the cluster's."""
    clone: Clone | None
    trusted: bool
    """False: what runs may come from somebody who may not write to the repository."""
    run_seconds_left: float
    """Of the run's own time limit, counted from now."""


class Phase(StrEnum):
    GATED = "gated"
    """Waits for its release; has run nothing."""
    RELEASED = "released"
    ENDED = "ended"
    LOST = "lost"
    """Is there no more, or its supervisor is not, and nothing says how it ended. None of its processes lives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """How a pod ended, from its supervisor or kubelet."""

    exit_code: int | None = None
    """Of the container `job`; None: it never began."""
    started_at: datetime | None = None
    """When user code began."""
    finished_at: datetime | None = None
    stopped: bool = False
    """By `stop`, before it had ended by itself."""
    time_limit: Literal["job", "run"] | None = None
    """The limit that ended it."""
    clone_failure: str | None = None
    fault: str | None = None
    """Why its supervisor could not run it."""
    termination: str = ""
    """The step driver's facts; for display only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    uid: str
    phase: Phase
    end: PodEnd | None = None
    """With ENDED only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A fresh look at the objects of one attempt."""

    name: str
    attempt_id: int
    object_uid: str
    creation_token: str = field(repr=False)
    pods: tuple[Pod, ...]
    log_location: str
    containers: tuple[str, ...]
    """Whose logs are kept, in order."""


class Cluster(Protocol):
    """One named cluster, seen through one installation's objects; others' objects are never shown and never touched."""

    async def create(self, spec: AttemptSpec) -> Observation:
        """Make the attempt's objects, its pod gated; or adopt those that are there with the same creation token. Call it only while nobody holds the claim:
        a pod that ended without ever having been released is made anew.

        Raises NameTaken, Refused, Transient.
        """

    async def observe(self, names: Collection[str]) -> dict[str, Observation]:
        """What is there of these attempts; one that is missing has no objects. The end of every pod shown will come up in `changed`. Raises Transient."""

    async def everything(self) -> list[Observation]:
        """All of this installation's objects. Raises Transient."""

    async def release(self, name: str, pod_uid: str) -> None:
        """Open the gate of this pod and no other. Call it after the claim has committed. A pod that is gone or has ended is left alone. Raises Transient."""

    async def stop(self, name: str, pod_uid: str) -> None:
        """Ask the pod to end: SIGTERM, the grace period, SIGKILL. Returns at once; the end comes up in `changed`. Raises Transient."""

    async def drop_workspace(self, name: str, object_uid: str) -> None:
        """The verdict is stored: what only user code needed may go. Logs stay."""

    async def remove(self, name: str, object_uid: str) -> None:
        """Remove the attempt's objects, logs and all; processes are killed first. Objects of that name with another uid are left alone. Raises Transient."""

    async def changed(self) -> frozenset[int]:
        """Waits until something happened; the attempts it happened to. It only wakes: truth is a fresh `observe`. For one reader."""
