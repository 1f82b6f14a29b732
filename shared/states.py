"""States of runs and jobs, and the executor's facts about attempts, as the engine computes with them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from shared.pipeline.model import Job, Retry
from shared.statuses import TERMINAL, Reason, Status, WaitingFor

_NEVER_AGAIN = Retry()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """State of a job. Its key identifies it within the run."""

    key: str
    needs: tuple[str, ...] = ()
    """The keys of the jobs that it needs: for a matrix, all of its jobs."""
    job: Job | None = None
    """The job's definition if the engine needs it: for a matrix, a condition, outputs, expressions."""
    is_unreadable: bool = False
    """True if the engine needs the definition and this release cannot read it."""
    condition: str | None = None
    """The decision about the job's `if`, for people."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """The outputs of its last attempt."""
    status: Status = Status.PENDING
    reason: Reason | None = None
    message: str | None = None
    waiting_for: WaitingFor | None = None
    ready_at: datetime | None = None
    """Time from which it queues for a slot: its needs were met and its run was in its group."""
    admitted: bool = False
    """True if it has a slot and an executor was asked to run its attempt."""
    attempt: int = 1
    """Number of its current attempt, or of its next one if it is not admitted."""
    retry: Retry = _NEVER_AGAIN
    infra_retries: int = 0
    """Attempts that followed one that the cluster ended."""
    script_retries: int = 0
    """Attempts that followed one that failed by the job's own code."""
    retry_at: datetime | None = None
    """Earliest time of its next admission. Set when an attempt was lost and another one follows."""
    slot_freed_at: datetime | None = None
    cancel_reason: Reason | None = None
    """Reason for which its attempt was asked to stop."""
    cancel_cause: str | None = None
    """Cause of that request, for example `command:7`."""
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_over(self) -> bool:
        return self.status in TERMINAL

    @property
    def id(self) -> str:
        """The key of the job in the document."""
        return self.key if self.job is None else self.job.id

    @property
    def result(self) -> Status:
        """The status as it counts for the run and for jobs that need it."""
        return Status.SUCCESS if self.counts_as_success else self.status

    @property
    def counts_as_success(self) -> bool:
        """True if jobs that need it may start: it succeeded, or its failure is allowed."""
        allowed = self.job is not None and self.job.allow_failure
        return self.status is Status.SUCCESS or (allowed and self.status is Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """A run with its jobs in the document's order."""

    jobs: tuple[JobState, ...]
    in_group: bool = True
    """True if it has a place in its concurrency group, or needs none. Until then no job queues for a slot."""
    awaits_approval: bool = False
    """True if it has code of a fork that nobody has approved. Until then no job queues for a slot."""
    status: Status = Status.PENDING
    reason: Reason | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def gate(self) -> WaitingFor | None:
        """Returns the wait of its jobs before they queue for slots, or None."""
        if self.awaits_approval:
            return WaitingFor.APPROVAL
        return None if self.in_group else WaitingFor.GROUP


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptState:
    """The executor's record of the attempt that a job wants."""

    claimed_at: datetime | None = None
    """None if user code has not started."""
    finished_at: datetime | None = None
    outcome: Status | None = None
    """Set together with `finished_at`: success, failed, error or cancelled."""
    reason: Reason | None = None
    message: str | None = None
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The outputs of its steps by the steps' ids."""
