"""The status machine: which statuses and reasons exist, and which moves are allowed.

`MOVES` and `ATTEMPT_MOVES` are the only tables of moves; what is terminal is derived from them.
The SQL enums and docs/statuses.md are tested to agree.
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a run or a job is."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ERROR = "error"
    SKIPPED = "skipped"


class AttemptStatus(StrEnum):
    """Where an attempt is; what became of it is its outcome, a terminal `Status`."""

    CREATING = "creating"
    CREATED = "created"
    CLAIMED = "claimed"
    RUNNING = "running"
    FINISHED = "finished"


class Reason(StrEnum):
    """Why a run, a job or an attempt ended as it did."""

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
    DEPENDENCY_FAILED = "dependency_failed"
    CONDITION_FALSE = "condition_false"


class WaitingFor(StrEnum):
    """What a pending job waits for."""

    APPROVAL = "approval"
    DEPENDENCY = "dependency"
    SLOT = "slot"
    GROUP = "group"
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
    Status.CANCELLED: frozenset({Reason.CANCELLED_BY_USER, Reason.SUPERSEDED, Reason.REJECTED}),
    Status.SKIPPED: frozenset({Reason.DEPENDENCY_FAILED, Reason.CONDITION_FALSE}),
}
"""The reasons that go with a status; the statuses not named here have none."""

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
"""From a status, where a run or a job may go.

A fact may arrive before the one it follows, so `pending` may go straight to an end.

Only a job goes back from `running` to `pending`: when its attempt was lost and there will be another.
"""

ATTEMPT_MOVES: dict[AttemptStatus, frozenset[AttemptStatus]] = {
    AttemptStatus.CREATING: frozenset({AttemptStatus.CREATED, AttemptStatus.CLAIMED, AttemptStatus.FINISHED}),
    AttemptStatus.CREATED: frozenset({AttemptStatus.CLAIMED, AttemptStatus.FINISHED}),
    AttemptStatus.CLAIMED: frozenset({AttemptStatus.RUNNING, AttemptStatus.FINISHED}),
    AttemptStatus.RUNNING: frozenset({AttemptStatus.FINISHED}),
    AttemptStatus.FINISHED: frozenset(),
}

TERMINAL: frozenset[Status] = frozenset(status for status, onward in MOVES.items() if not onward)
