"""The status machine: the statuses and reasons that exist, and the allowed moves between statuses.

`MOVES` and `ATTEMPT_MOVES` are the only tables of moves. The terminal statuses are derived from `MOVES`.
Tests compare the SQL enums and docs/statuses.md with this module.
"""

from enum import StrEnum


class Status(StrEnum):
    """The status of a run or a job."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERROR = "error"
    SKIPPED = "skipped"


class AttemptStatus(StrEnum):
    """The status of an attempt. The outcome of a finished attempt is a terminal `Status`."""

    CREATING = "creating"
    CREATED = "created"
    CLAIMED = "claimed"
    FINISHED = "finished"


class Reason(StrEnum):
    """The reason why a run, a job or an attempt ended."""

    SCRIPT_FAILED = "script_failed"
    TIMED_OUT = "timed_out"
    OOM_KILLED = "oom_killed"
    SERVICE_FAILED = "service_failed"
    EVICTED = "evicted"
    PREEMPTED = "preempted"
    NODE_LOST = "node_lost"
    IMAGE_MISSING = "image_missing"
    IMAGE_AUTH = "image_auth"
    IMAGE_REGISTRY = "image_registry"
    UNSCHEDULABLE = "unschedulable"
    QUOTA = "quota"
    START_TIMED_OUT = "start_timed_out"
    CONFIG_INVALID = "config_invalid"
    CLONE_FAILED = "clone_failed"
    LOST = "lost"
    PLATFORM = "platform"
    CANCELLED_BY_USER = "cancelled_by_user"
    SUPERSEDED = "superseded"
    REJECTED = "rejected"
    FAIL_FAST = "fail_fast"
    DEPENDENCY_FAILED = "dependency_failed"
    CONDITION_FALSE = "condition_false"


class WaitingFor(StrEnum):
    """The condition that a pending job waits for."""

    APPROVAL = "approval"
    DEPENDENCY = "dependency"
    SLOT = "slot"
    GROUP = "group"
    MAX_PARALLEL = "max_parallel"
    QUOTA = "quota"
    NODE = "node"
    IMAGE = "image"
    RETRY_BACKOFF = "retry_backoff"


REASONS_OF: dict[Status, frozenset[Reason]] = {
    Status.FAILED: frozenset(
        {Reason.SCRIPT_FAILED, Reason.TIMED_OUT, Reason.OOM_KILLED, Reason.SERVICE_FAILED}
    ),
    Status.ERROR: frozenset(
        {
            Reason.EVICTED,
            Reason.PREEMPTED,
            Reason.NODE_LOST,
            Reason.IMAGE_MISSING,
            Reason.IMAGE_AUTH,
            Reason.IMAGE_REGISTRY,
            Reason.UNSCHEDULABLE,
            Reason.QUOTA,
            Reason.START_TIMED_OUT,
            Reason.CONFIG_INVALID,
            Reason.CLONE_FAILED,
            Reason.LOST,
            Reason.PLATFORM,
        }
    ),
    Status.CANCELLED: frozenset(
        {Reason.CANCELLED_BY_USER, Reason.SUPERSEDED, Reason.REJECTED, Reason.FAIL_FAST}
    ),
    Status.SKIPPED: frozenset({Reason.DEPENDENCY_FAILED, Reason.CONDITION_FALSE}),
}
"""The reasons that each status can have. Statuses that are not listed have no reason."""

MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset(
        {Status.RUNNING, Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.ERROR, Status.SKIPPED}
    ),
    Status.RUNNING: frozenset(
        {Status.PENDING, Status.SUCCESS, Status.FAILED, Status.CANCELLED, Status.ERROR}
    ),
    Status.SUCCESS: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELLED: frozenset(),
    Status.ERROR: frozenset(),
    Status.SKIPPED: frozenset(),
}
"""The statuses to which a run or a job may move from each status.

Messages may arrive out of order, so a run or a job may move from `pending` directly to a terminal status.

Only a job moves back from `running` to `pending`. It does so if its attempt was lost and another one follows.
"""

ATTEMPT_MOVES: dict[AttemptStatus, frozenset[AttemptStatus]] = {
    AttemptStatus.CREATING: frozenset({AttemptStatus.CREATED, AttemptStatus.CLAIMED, AttemptStatus.FINISHED}),
    AttemptStatus.CREATED: frozenset({AttemptStatus.CLAIMED, AttemptStatus.FINISHED}),
    AttemptStatus.CLAIMED: frozenset({AttemptStatus.FINISHED}),
    AttemptStatus.FINISHED: frozenset(),
}

TERMINAL: frozenset[Status] = frozenset(status for status, onward in MOVES.items() if not onward)

WORST_FIRST = (Status.ERROR, Status.FAILED, Status.CANCELLED, Status.SUCCESS, Status.SKIPPED)
"""Order of precedence: a run ends with the first of these statuses that one of its jobs has.

It takes that job's reason; of several such jobs, the first in the document's order counts. `error` comes
before `failed`, because after a platform failure it is unknown whether the code is correct. Both come before
`cancelled`. The result of a matrix is decided in the same way.
"""
