"""Store of the scheduler: runs the named queries of `queries.sql` and returns domain values.

A `SchedulerWork` is one transaction.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.scheduler.concurrency import Group, Member
from services.scheduler.identities import IdentityUpdate, KnownRepository
from services.scheduler.ordering import Change
from services.scheduler.planning import JobRecord
from services.scheduler.started_runs import StartedRunsWork
from services.scheduler.values import enum, readable
from shared.database.store import Database, Queries, Relay, Store
from shared.events import Event
from shared.pipeline.model import Job, Retry
from shared.states import AttemptState, JobState, RunState
from shared.statuses import Reason, Status, WaitingFor

CONTENT_FAULTS = (
    asyncpg.DataError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""Errors that the stored content of a delivery or command can cause where the code does not check it.

Other errors are not caused by the content.
"""

ROW_FAULTS = (*CONTENT_FAULTS, asyncpg.PostgresError)
"""Errors that a single row can cause. An unreachable database is not one of them: it raises Transient."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDelivery:
    """A delivery as the gateway stored it.

    An open delivery (`is_open`) must still be decided. `body` is None if the delivery is not open or its body
    is no longer kept.
    """

    id: int
    source: str
    event_type: str
    headers: dict[str, str]
    hook_key: str | None
    received_at: datetime
    traceparent: str | None
    body: bytes | None
    outcome: str | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class InsertedEvent:
    id: int
    stored_at: datetime
    """Time by the database's clock."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pipeline that is stored under one of a repository's keys."""

    repository_id: int
    pipeline_config_id: int
    revision_id: int
    enabled: bool
    owner_id: int
    owner_may_use: bool


@dataclass(frozen=True, slots=True)
class JobPlace:
    """Row id, cluster and attempt of a job in a locked run."""

    id: int
    cluster: str
    wanted_attempt: int | None
    attempt_id: int | None


@dataclass(frozen=True, slots=True)
class StoredApproval:
    """The approval that a run of a fork needs."""

    expires_at: datetime
    is_given: bool
    has_group: bool
    """True if the run belongs to a concurrency group once it is approved."""


@dataclass(frozen=True, slots=True)
class LockedRun:
    """A run that only this transaction may change."""

    id: int
    locked_at: datetime
    state: RunState
    attempts: dict[str, AttemptState]
    places: dict[str, JobPlace]
    traceparent: str | None
    approval: StoredApproval | None
    """None if it needs no approval."""


@dataclass(frozen=True, slots=True)
class Command:
    id: int
    kind: str
    run_id: int
    """0 for a start, which has no run yet."""
    arguments: Row
    requested_by: int
    traceparent: str | None
    pipeline_config_id: int = 0
    """Of a start."""
    repository_id: int = 0


@dataclass(frozen=True, slots=True)
class Admitted:
    jobs: dict[str, list[tuple[int, int]]]
    """The admitted jobs as (job id, attempt number), by cluster."""
    next_retry_seconds: float | None
    """Seconds until the next retry backoff of a job ends, or None if no job is in one."""
    traceparents: frozenset[str | None]
    """The traces of the admitted jobs."""


class SchedulerWork(StartedRunsWork):
    """One transaction of the scheduler."""

    # ------------------------------------------------------------ deliveries

    async def deliveries(self, ids: Sequence[int]) -> list[StoredDelivery]:
        """Returns the first of these deliveries in order of id, as many as fit in memory."""
        return [StoredDelivery(**row) for row in await self._rows("deliveries", ids)]

    async def undecided_deliveries(self, *, above: int, age_seconds: float, at_most: int) -> list[int]:
        return [row["id"] for row in await self._rows("undecided_deliveries", above, age_seconds, at_most)]

    async def redelivered_deliveries(self, *, age_seconds: float, at_most: int) -> list[int]:
        return [row["id"] for row in await self._rows("redelivered_deliveries", age_seconds, at_most)]

    async def decided_up_to(self, known: int) -> int:
        return int(await self._value("decided_up_to", known))

    async def repositories(
        self, named: Iterable[tuple[str, int, str]], hook_keys: Iterable[str]
    ) -> list[KnownRepository]:
        """Returns the registered repositories that match (forge, forge id, full name) or a hook key."""
        forges, forge_ids, names = _columns(set(named), 3)
        return [
            KnownRepository(**row)
            for row in await self._rows("repositories", forges, forge_ids, names, list(set(hook_keys)))
        ]

    async def update_identities(self, updates: Sequence[IdentityUpdate]) -> None:
        """Stores identity updates.

        If several updates concern one repository, the first creates the row and the last sets its name. Waits
        for other replicas that store the same identities.
        """
        first = {
            identity_update.repository_id: asdict(identity_update) for identity_update in reversed(updates)
        }
        last = {identity_update.repository_id: asdict(identity_update) for identity_update in updates}
        await self._run("forget_identities", list(first.values()))
        await self._run("learn_identities", list(first.values()))
        await self._run("refresh_identities", [last[repository_id] for repository_id in sorted(last)])

    async def candidates(self, keys: Iterable[tuple[int, str]]) -> list[Candidate]:
        """Returns the pipelines, including disabled ones, that are stored under (repository id, key)."""
        return [Candidate(**row) for row in await self._rows("candidates", *_columns(set(keys), 2))]

    async def revisions(self, ids: Iterable[int]) -> dict[int, Any]:
        return {row["id"]: row["model"] for row in await self._rows("revisions", list(ids))}

    async def lock_pull_requests(self, pull_requests: Iterable[tuple[int, int]]) -> None:
        """Locks these (repository id, number) until the end of the transaction.

        Meanwhile no other transaction decides about them.
        """
        await self._rows("lock_pull_requests", *_columns(pull_requests, 2))

    async def closings(
        self, pull_requests: Iterable[tuple[int, int]]
    ) -> dict[tuple[int, int], datetime | None]:
        """Returns when each (repository id, number) was last closed.

        Pull requests that were never closed are missing. The time is None if the forge gave none.
        """
        rows = await self._rows("closings", *_columns(pull_requests, 2))
        return {(row["repository_id"], row["pull_request"]): row["closed_at"] for row in rows}

    async def insert_events(self, events: list[Row]) -> dict[int, InsertedEvent]:
        """Stores events with the outcomes of their deliveries; returns the stored events by delivery id.

        A delivery that another replica has decided meanwhile is missing.
        """
        return {
            row["delivery_id"]: InsertedEvent(row["id"], row["created_at"])
            for row in await self._rows("insert_events", events)
        }

    async def insert_outcomes(self, outcomes: list[Row]) -> None:
        await self._run("insert_outcomes", outcomes)

    async def insert_decisions(self, decisions: list[Row]) -> None:
        await self._run("insert_decisions", decisions)

    async def superseded_runs(
        self, closings: Iterable[tuple[int, int, int, datetime | None]]
    ) -> dict[int, int]:
        """Returns the runs that closings of pull requests supersede, each with the id of the closing event.

        These are the runs that have not started and whose event came before the closing. A closing is (event
        id, repository id, number, time).
        """
        return {
            row["id"]: row["event_id"] for row in await self._rows("superseded_runs", *_columns(closings, 4))
        }

    async def replaced_events(self, event_ids: Sequence[int]) -> set[int]:
        """Returns those of these events of pull requests after which a newer push is stored."""
        return {row["id"] for row in await self._rows("replaced_events", event_ids)}

    async def replaced_fork_runs(self, event_ids: Sequence[int]) -> dict[int, int]:
        """Returns the runs that need an approval, have not started, and that these events replace.

        Each has the id of the event that replaces it.
        """
        return {row["id"]: row["event_id"] for row in await self._rows("replaced_fork_runs", event_ids)}

    # ------------------------------------------------------------ runs

    async def take_run_numbers(self, counts: dict[int, int]) -> dict[int, int]:
        """Takes `counts[pipeline]` consecutive run numbers for each pipeline; returns the first of each."""
        rows = await self._rows("take_run_numbers", *_columns(sorted(counts.items()), 2))
        return {row["pipeline_config_id"]: row["next"] - counts[row["pipeline_config_id"]] for row in rows}

    async def changes_around(self, event_ids: Iterable[int]) -> list[Change]:
        """Returns the newest events of those branches, tags and pull requests where another event follows.

        Only the branches, tags and pull requests of the given events are searched. An event follows another
        if it starts at the commit where the other ends.
        """
        return [Change(**row) for row in await self._rows("changes_around", list(event_ids))]

    async def insert_runs(self, runs: list[Row], jobs: list[Row]) -> dict[tuple[int, int], int]:
        """Stores runs and their jobs; returns the run ids by (event id, pipeline id)."""
        return {
            (row["event_id"], row["pipeline_config_id"]): row["id"]
            for row in await self._rows("insert_runs", runs, jobs)
        }

    async def lock_runs(self, ids: Iterable[int], *, only_free: bool = False) -> list[LockedRun]:
        """Locks these runs and their jobs until the end of the transaction; returns them with their attempts.

        Rows are locked in order of id, so that two transactions cannot deadlock. With `only_free`, runs that
        another transaction has locked are left out.
        """
        runs = await self._rows("lock_free_runs" if only_free else "lock_runs", list(ids))
        rows = await self._rows("lock_jobs", [run["id"] for run in runs]) if runs else []
        return [_locked_run(run, [row for row in rows if row["run_id"] == run["id"]]) for run in runs]

    async def change_runs(self, jobs: list[Row], runs: list[Row], transitions: list[Row]) -> None:
        await self._run("change_runs", jobs, runs, transitions)

    async def approve_run(self, run_id: int, user_id: int) -> None:
        """Records the approval of a run that waits for it, and gives the run its group. It is locked."""
        await self._run("approve_run", run_id, user_id)

    async def runs_of_attempts(self, attempt_ids: Iterable[int]) -> list[int]:
        return [row["run_id"] for row in await self._rows("runs_of_attempts", list(attempt_ids))]

    # ------------------------------------------------------------ admission

    async def lock_admission(self) -> None:
        """Prevents all other transactions from admitting jobs until this one ends.

        Raises Transient if other transactions hold the lock for longer than a second.
        """
        await self._run("lock_admission")

    async def groups_with_waiting(self) -> list[Group]:
        """Returns the groups in which a run waits for a place. The caller holds the admission lock."""
        groups: dict[tuple[int, str], list[asyncpg.Record]] = {}
        for row in await self._rows("groups_with_waiting"):
            groups.setdefault((row["repository_id"], row["concurrency_group"]), []).append(row)
        return [_group(rows) for rows in groups.values()]

    async def admit(self, *, global_limit: int, repository_limit: int, cluster: str) -> Admitted:
        """Gives free slots to waiting jobs. The caller holds the admission lock.

        `cluster` is the cluster of jobs without labels.
        """
        rows = await self._rows("admit", global_limit, repository_limit, cluster)
        return Admitted(
            _by_cluster(row for row in rows if row["id"] is not None),
            rows[0]["next_retry_seconds"],
            frozenset(row["traceparent"] for row in rows),
        )

    # ------------------------------------------------------------ commands

    async def runs_of_commands(self, command_ids: Iterable[int]) -> list[int]:
        return [row["run_id"] for row in await self._rows("runs_of_commands", list(command_ids))]

    async def open_commands(self, command_ids: Iterable[int]) -> list[Command]:
        """Returns those of these commands that have no effect yet.

        The caller has locked their runs, so no other transaction applies them.
        """
        return [Command(**row) for row in await self._rows("open_commands", list(command_ids))]

    async def commands_without_effect(self, *, age_seconds: float) -> list[int]:
        return [row["id"] for row in await self._rows("commands_without_effect", age_seconds)]

    async def insert_effect(self, command_id: int, outcome: str, reason: str, run_id: int | None) -> None:
        await self._run("insert_effect", command_id, outcome, reason, run_id)

    async def run_to_retry(self, run_id: int) -> Row | None:
        row = await self._row("run_to_retry", run_id)
        return None if row is None else dict(row)

    async def event(self, event_id: int) -> Event:
        """Returns a stored event. It exists, because runs have a foreign key to their event."""
        row = await self._row("event", event_id)
        assert row is not None  # noqa: S101 - a foreign key
        return Event.from_row(dict(row))

    async def job_records(self, run_id: int) -> tuple[JobRecord, ...]:
        rows = await self._rows("job_records", run_id)
        return tuple(JobRecord(row["id"], row["key"], Status(row["status"]), row["outputs"]) for row in rows)

    # ------------------------------------------------------------ reconciler checks

    async def runs_to_fold(self, *, age_seconds: float) -> list[int]:
        return [row["run_id"] for row in await self._rows("runs_to_fold", age_seconds)]

    async def overdue_runs(self) -> list[int]:
        return [row["id"] for row in await self._rows("overdue_runs")]

    async def expired_approvals(self) -> list[int]:
        """Returns runs that nobody has approved in time."""
        return [row["id"] for row in await self._rows("expired_approvals")]

    async def admitted_without_attempt(self, *, age_seconds: float) -> dict[str, list[tuple[int, int]]]:
        """Returns admitted jobs that have no attempt row, as (job id, attempt number) by cluster."""
        return _by_cluster(await self._rows("admitted_without_attempt", age_seconds))

    async def stops_not_heard(self, *, age_seconds: float) -> dict[str, list[tuple[int, int]]]:
        """Returns jobs with an unrecorded stop request, as (job id, attempt number) by cluster."""
        return _by_cluster(await self._rows("stops_not_heard", age_seconds))

    async def jobs_wait(self) -> bool:
        return bool(await self._value("jobs_wait"))


SchedulerStore = Store[SchedulerWork]


def open_store(database: Database, relay: Relay | None = None) -> SchedulerStore:
    """Opens the store. Without a relay, its messages wait in the outbox."""
    return Store(database, Queries.beside(__file__), SchedulerWork, owner="scheduler", relay=relay)


def _columns(rows: Iterable[tuple[Any, ...]], width: int) -> list[list[Any]]:
    """Returns a table as one array per column, for the SQL function `unnest`."""
    table = list(rows)
    return [[row[index] for row in table] for index in range(width)]


def _by_cluster(rows: Iterable[asyncpg.Record]) -> dict[str, list[tuple[int, int]]]:
    jobs: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        jobs.setdefault(row["cluster"], []).append((row["id"], row["wanted_attempt"]))
    return jobs


def _locked_run(run: asyncpg.Record, rows: Sequence[asyncpg.Record]) -> LockedRun:
    state = RunState(
        jobs=tuple(_job_state(row) for row in sorted(rows, key=lambda row: row["position"])),
        in_group=run["in_group"],
        awaits_approval=run["approval_expires_at"] is not None and run["approved_at"] is None,
        status=Status(run["status"]),
        reason=enum(Reason, run["reason"]),
        started_at=run["started_at"],
        finished_at=run["finished_at"],
    )
    attempts = {row["key"]: _attempt_state(row) for row in rows if row["attempt_id"] is not None}
    places = {
        row["key"]: JobPlace(row["id"], row["cluster"], row["wanted_attempt"], row["attempt_id"])
        for row in rows
    }
    return LockedRun(run["id"], run["locked_at"], state, attempts, places, run["traceparent"], _approval(run))


def _approval(run: asyncpg.Record) -> StoredApproval | None:
    expires_at = run["approval_expires_at"]
    if expires_at is None:
        return None
    return StoredApproval(expires_at, run["approved_at"] is not None, run["held_group"] is not None)


def _job_state(row: asyncpg.Record) -> JobState:
    definition = None if row["definition"] is None else readable(Job, row["definition"], row["id"])
    return JobState(
        key=row["key"],
        needs=tuple(row["needs"]),
        job=definition,
        is_unreadable=definition is None and row["definition"] is not None,
        condition=row["condition"],
        outputs=row["outputs"],
        status=Status(row["status"]),
        reason=enum(Reason, row["reason"]),
        message=row["message"],
        waiting_for=enum(WaitingFor, row["waiting_for"]),
        ready_at=row["ready_at"],
        admitted=row["admitted"],
        attempt=row["wanted_attempt"] or 1,
        retry=(None if row["retry"] is None else readable(Retry, row["retry"], row["id"])) or Retry(),
        infra_retries=row["infra_retries"],
        script_retries=row["script_retries"],
        retry_at=row["retry_at"],
        slot_freed_at=row["slot_freed_at"],
        cancel_reason=enum(Reason, row["cancel_reason"]),
        cancel_cause=row["cancel_cause"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
    )


def _group(rows: Sequence[asyncpg.Record]) -> Group:
    members = tuple(
        Member(
            id=row["id"],
            age=(row["group_order_at"], row["id"]),
            limit=row["concurrency_limit"],
            on_new=row["on_new"],
            entered=row["entered"],
            stopping=row["stopping"],
        )
        for row in rows
    )
    canceller, keeper = (
        (rows[0][f"{which}_at"], rows[0][f"{which}_id"]) for which in ("canceller", "keeper")
    )
    return Group(members, canceller if canceller[0] else None, keeper if keeper[0] else None)


def _attempt_state(row: asyncpg.Record) -> AttemptState:
    return AttemptState(
        claimed_at=row["attempt_claimed_at"],
        finished_at=row["attempt_finished_at"],
        outcome=enum(Status, row["attempt_outcome"]),
        reason=enum(Reason, row["attempt_reason"]),
        message=row["attempt_message"],
        outputs=row["attempt_outputs"] or {},
    )
