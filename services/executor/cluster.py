"""What the executor asks of a cluster, and the values they exchange.

A cluster keeps attempts as pods that begin gated: user code of a pod runs only after `release`. Everything
here may be repeated, by several executors at once, and after a crash at any place; the cluster's own objects
are the memory. No answer is never an answer: what can't be asked raises Transient.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from shared.pipeline.model import Job
from shared.statuses import Reason, WaitingFor


class NameTaken(Exception):
    """An object with the attempt's name is not the attempt's: its creation token is another."""


class Refused(Exception):
    """This cluster will never run such a job; the text says why, for people."""


class MustWait(Exception):
    """The cluster takes nothing more for the moment; nothing was made."""

    def __init__(self, waiting: "Waiting") -> None:
        super().__init__(waiting.message)
        self.waiting = waiting


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why user code has not begun, in the cluster's own words. `what` None: it is being started."""

    what: WaitingFor | None
    message: str
    seconds: float = field(default=0.0, compare=False)
    """For how long at least it has waited for just this."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What the cluster itself says ended a pod, or keeps it from ever beginning."""

    reason: Reason
    message: str


OUT_OF_MEMORY = Cause(Reason.OOM_KILLED, "The job used more memory than it was given.")


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
    tags: bool = False
    """Whether all tags are fetched too."""


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
    """Is there no more, or its supervisor is not, and nothing says how it ended.

    None of its processes lives.
    """


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
    cause: Cause | None = None
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
    lingers: bool = False
    """With ENDED: nobody can say that its processes are gone, for its node does not answer."""
    started_at: datetime | None = None
    """When user code began; told by clusters that do not keep a job's time limit to the end themselves."""
    waiting: Waiting | None = None
    """With RELEASED, while user code waits to begin and nothing that comes before it is running."""
    obstacle: Cause | None = None
    """With RELEASED: why user code will never begin. The pod is to be abandoned for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A fresh look at the objects of one attempt."""

    name: str
    attempt_id: int
    object_uid: str
    creation_token: str = field(repr=False)
    pods: tuple[Pod, ...]
    """The oldest first; none where the cluster has not made one yet."""
    log_location: str
    """Of the first pod."""
    containers: tuple[str, ...]
    """Whose logs are kept, in order."""
    waiting: Waiting | None = None
    """Why there is no pod yet."""
    refusal: str | None = None
    """Why there never will be one."""
    warnings: tuple[str, ...] = ()
    """For people, about how the job runs here: one line each."""


class Cluster(Protocol):
    """One named cluster, seen through one installation's objects; others' objects are never shown and never
    touched.
    """

    async def create(self, spec: AttemptSpec) -> Observation:
        """Make the attempt's objects, its pod gated; or adopt those that are there with the same creation
        token. Call it only while nobody holds the claim: a pod that ended without ever having been released
        is made anew. Where the pod is not there yet, `changed` tells when it is.

        Raises NameTaken, Refused, MustWait, Transient.
        """

    async def observe(self, names: Collection[str]) -> dict[str, Observation]:
        """What is there of these attempts; one that is missing has no objects.

        The end of every pod shown will come up in `changed`. Raises Transient.
        """

    async def known(self, names: Collection[str]) -> dict[str, Observation]:
        """What this process has been told of these attempts already.

        It may be old, and says nothing of those that are missing: to claim by, not to judge.
        """

    async def everything(self) -> list[Observation]:
        """All of this installation's objects. Raises Transient."""

    async def release(self, name: str, pod_uid: str) -> None:
        """Open the gate of this pod and no other.

        Call it after the claim has committed. A pod that is gone or has ended is left alone. Raises
        Transient.
        """

    async def stop(self, name: str, pod_uid: str) -> None:
        """Ask the pod to end: SIGTERM, the grace period, SIGKILL.

        Returns at once; the end comes up in `changed`. Raises Transient.
        """

    async def abandon(self, name: str, pod_uid: str, cause: Cause) -> None:
        """End a pod for this cause, which its end will tell.

        Where a fresh look shows that user code has begun, or that the pod has ended, nothing happens.

        Raises Transient.
        """

    async def drop_workspace(self, name: str, object_uid: str) -> None:
        """The verdict is stored: what only user code needed may go. Logs stay."""

    async def remove(self, name: str, object_uid: str) -> None:
        """Remove the attempt's objects, logs and all; processes are killed first.

        Objects of that name with another uid are left alone. Raises Transient.
        """

    async def changed(self) -> frozenset[int]:
        """Waits until something happened; the attempts it happened to.

        It only wakes: truth is a fresh `observe`. For one reader.
        """
