"""The interface that every cluster backend implements, and the values that it exchanges with the executor.

A cluster runs each attempt as a pod that starts gated: its user code starts only after `release`. Every call
may be repeated, by several executors at once and after a crash at any point; the only state is in the
cluster's own objects. A missing answer is never interpreted: a call that gets no answer raises Transient.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol

from services.executor.step_outputs import OutputsProblem
from shared.pipeline.claiming import SecretVariables
from shared.pipeline.model import Job
from shared.statuses import Reason, WaitingFor

Outputs = Mapping[str, Mapping[str, str]]
"""For each step's id the values of its outputs, by name."""


class NameTaken(Exception):
    """An object with the attempt's name has another creation token, so it does not belong to the attempt."""


class Refused(Exception):
    """This cluster will never run such a job. The text gives users the reason."""


class MustWait(Exception):
    """The cluster accepts no more objects at the moment. The attempt has to wait."""

    def __init__(self, waiting: "Waiting") -> None:
        super().__init__(waiting.message)
        self.waiting = waiting


@dataclass(frozen=True, slots=True)
class Waiting:
    """The reason why user code has not started, in the cluster's words. `what` is None during startup."""

    what: WaitingFor | None
    message: str
    seconds: float = field(default=0.0, compare=False)
    """Lower bound of how long the attempt has waited for exactly this."""


@dataclass(frozen=True, slots=True)
class Cause:
    """The cluster's own reason why a pod ended, or why a pod can never start."""

    reason: Reason
    message: str


OUT_OF_MEMORY = Cause(Reason.OOM_KILLED, "The job used more memory than it was given.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Clone:
    """Exactly one commit, from the registered clone URL. `sha` and `merge_sha` are hexadecimal."""

    url: str
    sha: str
    ref: str | None
    """The ref that had the commit, for servers that do not serve commits by SHA; starts with `refs/`."""
    merge_sha: str | None
    """Built instead of `sha` if `sha` is one of its parents."""
    depth: int
    token: str | None = field(default=None, repr=False)
    tags: bool = False
    """True to fetch all tags too."""
    submodules: bool | Literal["recursive"] = False
    """Whether submodules are fetched: those of the commit, or also theirs."""
    shares_token: bool = False
    """True if submodules of the same server are fetched with the token."""
    lfs: bool = False
    """True to replace the pointers of git LFS by their files."""
    folder: str = ""
    """The folder of the workspace to clone into. Empty: the workspace itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpec:
    """Everything that a cluster needs to run an attempt."""

    name: str
    """The name of every object that is created for the attempt: `tp-<installation>-<attempt id>`."""
    attempt_id: int
    job_id: int
    run_id: int
    creation_token: str = field(repr=False)
    job: Job
    environment: Mapping[str, str] = field(repr=False)
    """Variables that user code sees, in addition to HOME and PATH, which the cluster provides."""
    clone: Clone | None
    trusted: bool
    """False if the code may come from a person without write access to the repository."""
    run_seconds_left: float
    """Seconds left of the run's own time limit, counted from now."""
    secrets: SecretVariables = field(default=SecretVariables(), repr=False)
    """Variables that have secrets. They are passed on apart from the others."""


class Phase(StrEnum):
    GATED = "gated"
    """The pod waits for its release and has run nothing."""
    RELEASED = "released"
    ENDED = "ended"
    LOST = "lost"
    """The pod or its supervisor is gone, and nothing shows how it ended.

    None of its processes is alive.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class PodEnd:
    """The end of a pod, as its supervisor or kubelet reports it."""

    exit_code: int | None = None
    """Exit code of the container `job`; None if it never started."""
    started_at: datetime | None = None
    """The time at which user code started."""
    finished_at: datetime | None = None
    stopped: bool = False
    """True if `stop` ended the pod before it had ended by itself."""
    time_limit: Literal["job", "run"] | None = None
    """The time limit that ended the pod."""
    clone_failure: str | None = None
    cause: Cause | None = None
    fault: str | None = None
    """The error that kept the supervisor from running the pod."""
    termination: str = ""
    """The contents of the step driver's termination file; for display only."""
    outputs: Outputs | None = field(default_factory=dict)
    """The outputs of the steps, as far as the job's `outputs` need them. None: they are not read yet.

    `Backend.observe` reads them.
    """
    outputs_problem: OutputsProblem | None = None
    """The reason why there are no outputs. Never set for a job without `outputs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    uid: str
    phase: Phase
    name: str = ""
    """Its name, on clusters where a pod has a name of its own."""
    end: PodEnd | None = None
    """Set only in phase ENDED."""
    lingers: bool = False
    """True if, in phase ENDED, its processes may still be alive because its node does not answer."""
    started_at: datetime | None = None
    """The time at which user code started. Set by clusters that rely on the executor for time limits."""
    waiting: Waiting | None = None
    """Set in phase RELEASED while user code waits to start and no earlier container is at work."""
    obstacle: Cause | None = None
    """The cause for which the pod has to be abandoned: user code can never start, or its node is lost.

    Set only in phase RELEASED.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """The objects of one attempt, as the cluster showed them at one moment."""

    name: str
    attempt_id: int
    object_uid: str
    creation_token: str = field(repr=False)
    pods: tuple[Pod, ...]
    """Oldest first; empty if the cluster has not created a pod yet."""
    log_location: str
    """The location of the first pod's logs."""
    containers: tuple[str, ...]
    """The containers whose logs are kept, in order."""
    waiting: Waiting | None = None
    """The reason why there is no pod yet."""
    refusal: str | None = None
    """The reason why there will never be a pod."""
    warnings: tuple[str, ...] = ()
    """Warnings for users about how the job runs on this cluster: one line each."""


class Backend(Protocol):
    """One named cluster, limited to the objects of one installation.

    Objects of other installations are never returned and never changed.
    """

    async def create(self, spec: AttemptSpec) -> Observation:
        """Create the attempt's objects with a gated pod, or adopt objects with the same creation token.

        Call it only while the attempt has no claim: a pod that ended without a release is replaced. If the
        pod does not exist yet, `changed` reports it later.

        Raises NameTaken, Refused, MustWait or Transient.
        """

    async def observe(self, names: Collection[str]) -> dict[str, Observation]:
        """Return the current objects of these attempts. An attempt that is missing has no objects.

        `changed` will report the end of every pod in the result. Raises Transient.
        """

    async def known(self, names: Collection[str]) -> dict[str, Observation]:
        """Return the objects of these attempts that this process already knows about.

        The result may be old, and a missing attempt may have objects. It is good enough for a claim, but not
        for a verdict.
        """

    async def everything(self) -> list[Observation]:
        """Return all objects of this installation. Raises Transient."""

    async def release(self, name: str, pod_uid: str) -> None:
        """Open the gate of this pod and of no other.

        Call it only after the claim has committed. Does nothing if the pod is gone or has ended. Raises
        Transient.
        """

    async def stop(self, name: str, pod_uid: str) -> None:
        """Ask the pod to end: SIGTERM, and after the grace period SIGKILL.

        Returns at once; `changed` reports the end. Raises Transient.
        """

    async def abandon(self, name: str, pod_uid: str, cause: Cause) -> None:
        """End the pod for this cause, which its `PodEnd` then reports.

        Does nothing if a fresh observation shows that user code has started on a node that answers, or that
        the pod has ended. Raises Transient.
        """

    async def drop_workspace(self, name: str, object_uid: str) -> None:
        """Delete what only user code needed. Called once the verdict is stored. Logs are kept."""

    async def remove(self, name: str, object_uid: str) -> None:
        """Kill the attempt's processes, then remove its objects, including logs.

        Does nothing if the object with this name has another uid. Raises Transient.
        """

    async def changed(self) -> frozenset[int]:
        """Wait until something has happened, and return the attempts that it affects.

        The result is only a reason to call `observe`. Only one task may call this function.
        """
