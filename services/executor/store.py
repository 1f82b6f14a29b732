"""The executor's tables: named queries that return domain values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from services.executor.backend import Observation, Waiting
from services.executor.clusters import RegisteredCluster
from services.executor.planning import UNSET_SECRETS, Before, Candidate, StoredSecret
from services.executor.step_facts import StepFact
from services.executor.verdict import Claimed, Verdict
from shared.database.store import Database, Queries, Relay, Store, Work
from shared.events import Event, Execution
from shared.pipeline.model import Job
from shared.statuses import Reason, WaitingFor

Wanted = tuple[int, int]
"""A job's id and the number of one of its attempts."""
Traces = dict[int, str | None]
"""The `traceparent` of each of these attempts; None if an earlier release created the attempt."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict and the pod that it is about: the pod with the claim, or None before a claim."""

    attempt_id: int
    pod_uid: str | None
    verdict: Verdict
    warning: str | None = None
    """A note for people about the attempt, in addition to those that it has."""


@dataclass(frozen=True, slots=True)
class Stopping:
    """An unfinished attempt that must stop."""

    attempt_id: int
    pod_uid: str | None
    reason: Reason
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Overdue:
    """An attempt that should have been claimed by now."""

    attempt_id: int
    seconds: float
    """Seconds since the attempt's row was created."""
    waiting: Waiting | None
    """The last recorded reason why the attempt waits."""


@dataclass(frozen=True, slots=True)
class Running:
    """A claimed attempt whose time limit may have passed."""

    pod_uid: str
    over_since: datetime
    """The limit has passed if user code started at or before this time."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An attempt without a verdict, as its row describes it."""

    attempt_id: int
    pod_uid: str | None
    """The pod that holds the claim; None if the attempt is not claimed."""
    is_created: bool
    """True if the attempt is not claimed and its objects are in the cluster."""
    claimed_seconds: float
    """Seconds since the claim; 0 if the attempt is not claimed."""
    waiting: Waiting | None
    traceparent: str | None
    _row: Any = field(repr=False)

    @property
    def claimed(self) -> Claimed:
        """The values that the verdict needs. Raises ValueError for a definition that cannot be parsed."""
        assert self.pod_uid is not None  # noqa: S101 - asked of claimed attempts only
        reason = self._row["stop_reason"]
        return Claimed(
            pod_uid=self.pod_uid,
            job=Job.model_validate(self._row["definition"]),
            run_timeout_seconds=self._row["timeout_seconds"],
            stop_reason=None if reason is None else Reason(reason),
        )


@dataclass(frozen=True, slots=True)
class RefRequest:
    """A ref, or a commit, for which the repository's server has to be asked."""

    event_id: int
    ref: str | None
    sha: str | None
    age_seconds: float
    repository_id: int
    clone_url: str
    clone_token: bytes | None = field(repr=False)
    traceparent: str | None


class ExecutorWork(Work):
    """One transaction of the executor."""

    async def installation(self) -> str | None:
        name: str | None = await self._value("installation")
        return name

    async def register_cluster(self, name: str, labels: Mapping[str, str]) -> None:
        """Record a cluster with its labels, seen now."""
        await self._run("register_cluster", name, dict(labels))

    async def clusters(self) -> list[RegisteredCluster]:
        return [RegisteredCluster(row["name"], row["labels"]) for row in await self._rows("clusters")]

    async def insert_attempts(self, cluster: str, wanted: Sequence[Wanted], tokens: Sequence[str]) -> Traces:
        """Insert the attempts that do not exist yet. Return those that a stop request finished at once."""
        jobs, numbers = _columns(wanted)
        return _traces(await self._rows("insert_attempts", cluster, jobs, numbers, tokens, UNSET_SECRETS))

    async def to_start(self, cluster: str, wanted: Sequence[Wanted]) -> list[Candidate]:
        """Return those of these attempts that are not finished, claimed or not."""
        rows = await self._rows("to_start", cluster, *_columns(wanted))
        secrets = await self.pinned_secrets([row["id"] for row in rows if row["has_secrets"]])
        return [_candidate(row, secrets.get(row["id"], [])) for row in rows]

    async def pinned_secrets(self, attempts: Sequence[int]) -> dict[int, list[StoredSecret]]:
        """Return the versions of secrets of those of these attempts that have any."""
        found: dict[int, list[StoredSecret]] = {}
        for row in await self._rows("pinned_secrets", attempts) if attempts else []:
            secret = StoredSecret(row["name"], row["version_id"], row["value"])
            found.setdefault(row["attempt_id"], []).append(secret)
        return found

    async def claim(self, pods: Sequence[Observation]) -> Traces:
        """Let the first pod of each of these run user code. Return the attempts that won the claim.

        Repeating it for the same pod succeeds again, because the first answer may have been lost.
        """
        if not pods:
            return {}
        rows = await self._rows(
            "claim_attempts",
            [pod.attempt_id for pod in pods],
            [pod.object_uid for pod in pods],
            [pod.pods[0].uid for pod in pods],
            [pod.log_location for pod in pods],
            [",".join(pod.containers) for pod in pods],
            ["\n".join(pod.warnings) for pod in pods],
        )
        return _traces(rows)

    async def finish(self, judged: Sequence[Judged]) -> Traces:
        """Store verdicts and return the attempts that they finished.

        A second verdict, or a verdict about a pod that does not hold the claim, changes nothing.
        """
        if not judged:
            return {}
        verdicts = [one.verdict for one in judged]
        rows = await self._rows(
            "finish_attempts",
            [one.attempt_id for one in judged],
            [one.pod_uid for one in judged],
            [one.outcome.value for one in verdicts],
            [one.reason and one.reason.value for one in verdicts],
            [_short(one.message) for one in verdicts],
            [one.exit_code for one in verdicts],
            [one.started_at for one in verdicts],
            [[_step(fact) for fact in one.steps] for one in verdicts],
            [{step: dict(outputs) for step, outputs in one.outputs.items()} for one in verdicts],
            [one.warning for one in judged],
        )
        return _traces(rows)

    async def request_stops(self, cluster: str, wanted: Sequence[Wanted]) -> list[Stopping]:
        """Record that these attempts must stop, so that none can be claimed. Return the unfinished ones."""
        rows = await self._rows("request_stops", cluster, *_columns(wanted))
        return [
            Stopping(row["id"], row["pod_uid"], Reason(row["cancel_reason"]), row["traceparent"])
            for row in rows
        ]

    async def note_created(self, made: Collection[Observation]) -> None:
        """Record that the objects of these attempts are complete."""
        await self._run(
            "note_created",
            [observation.attempt_id for observation in made],
            [observation.object_uid for observation in made],
        )

    async def note_waiting(self, waiting: Mapping[int, Waiting | None]) -> None:
        """Record what these attempts wait for. None clears the value."""
        values = list(waiting.values())
        await self._run(
            "note_waiting",
            list(waiting),
            [one.what.value if one and one.what else None for one in values],
            [_short(one.message if one else None) for one in values],
        )

    async def under_way(self, cluster: str, attempts: Collection[int]) -> list[UnderWay]:
        """Return those of these attempts that have no verdict.

        An attempt that is not claimed and whose stop was requested is left out.
        """
        return [_under_way(row) for row in await self._rows("under_way", cluster, list(attempts))]

    async def admitted_without_attempt(self, cluster: str, age_seconds: float, most: int) -> list[Wanted]:
        return _wanted(await self._rows("admitted_without_attempt", cluster, age_seconds, most))

    async def not_created(self, cluster: str, age_seconds: float, most: int) -> list[Wanted]:
        """Return attempts whose objects may not be complete."""
        return _wanted(await self._rows("not_created", cluster, age_seconds, most))

    async def created(self, cluster: str, age_seconds: float, most: int) -> dict[int, Wanted]:
        """Return attempts whose objects are complete and that are not claimed."""
        return {
            row["id"]: (row["job_id"], row["number"])
            for row in await self._rows("created_attempts", cluster, age_seconds, most)
        }

    async def overdue_starts(self, cluster: str, start_seconds: float) -> dict[int, Overdue]:
        rows = await self._rows("overdue_starts", cluster, start_seconds)
        return {row["id"]: Overdue(row["id"], row["seconds"], _waiting(row)) for row in rows}

    async def overdue_runs(self, cluster: str, grace_seconds: float) -> dict[int, Running]:
        """Return attempts whose claim is older than their job's time limit plus the grace period."""
        return {
            row["id"]: Running(row["pod_uid"], row["over_since"])
            for row in await self._rows("overdue_runs", cluster, grace_seconds)
        }

    async def claimed(self, cluster: str, age_seconds: float) -> dict[int, str]:
        """Return claimed attempts without a verdict, with the pods that hold their claims."""
        return {
            row["id"]: row["pod_uid"] for row in await self._rows("claimed_attempts", cluster, age_seconds)
        }

    async def stops_wanted(self, cluster: str, age_seconds: float) -> list[Wanted]:
        return _wanted(await self._rows("stops_wanted", cluster, age_seconds))

    async def removable(self, cluster: str, attempts: Collection[int] | None) -> list[int]:
        """Return those of these attempts whose objects are no longer needed. None selects all attempts."""
        rows = await self._rows("removable", cluster, None if attempts is None else list(attempts))
        return [row["id"] for row in rows]

    async def mark_removed(self, attempts: Collection[int]) -> None:
        await self._run("mark_removed", list(attempts))

    async def still_wanted(self, attempts: Collection[int]) -> set[int]:
        """Return those of these attempts that exist and may still need their objects."""
        return {row["id"] for row in await self._rows("wanted_attempts", list(attempts))}

    async def ref_requests(self, cluster: str, events: Collection[int]) -> list[RefRequest]:
        """Return the requests of these events that have no answer."""
        return [RefRequest(**row) for row in await self._rows("ref_requests", cluster, list(events))]

    async def refs_not_resolved(self, cluster: str, age_seconds: float, most: int) -> list[int]:
        rows = await self._rows("refs_not_resolved", cluster, age_seconds, most)
        return [row["event_id"] for row in rows]

    async def insert_resolution(self, event_id: int, outcome: str, sha: str | None, message: str) -> bool:
        """Store an answer. Return False if there is one already."""
        return await self._run("insert_resolution", event_id, outcome, sha, _short(message)) == 1


ExecutorStore = Store[ExecutorWork]


def open_store(database: Database, relay: Relay | None) -> ExecutorStore:
    return Store(database, Queries.beside(__file__), ExecutorWork, owner="executor", relay=relay)


async def installation_of(store: ExecutorStore) -> str:
    """Return the installation's name.

    Raises Transient, or RuntimeError if the database was never migrated.
    """
    async with store.reading() as work:
        name = await work.installation()
    if name is None:
        raise RuntimeError("this installation has no name: run python -m shared.database.migrate")
    return name


def _columns(wanted: Sequence[Wanted]) -> tuple[list[int], list[int]]:
    return [job for job, _ in wanted], [number for _, number in wanted]


def _wanted(rows: Sequence[Any]) -> list[Wanted]:
    return [(row["job_id"], row["number"]) for row in rows]


def _traces(rows: Sequence[Any]) -> Traces:
    return {row["id"]: row["traceparent"] for row in rows}


def _short(text: str | None) -> str | None:
    return text and text.replace("\0", "")[:2000]


def _waiting(row: Any) -> Waiting | None:
    if row["waiting_for"] is None and row["message"] is None:
        return None
    return Waiting(
        None if row["waiting_for"] is None else WaitingFor(row["waiting_for"]), row["message"] or ""
    )


def _under_way(row: Any) -> UnderWay:
    return UnderWay(
        row["id"],
        row["pod_uid"],
        row["status"] == "created",
        row["claimed_seconds"] or 0.0,
        _waiting(row),
        row["traceparent"],
        row,
    )


def _candidate(row: Any, secrets: Sequence[StoredSecret]) -> Candidate:
    return Candidate(
        attempt_id=row["id"],
        creation_token=row["creation_token"],
        claimed_by=row["pod_uid"],
        execution=Execution(
            run_id=row["run_id"],
            run_number=row["run_number"],
            pipeline=row["pipeline_name"],
            job=row["job_key"],
            attempt=row["number"],
        ),
        job_id=row["job_id"],
        job=Job.model_validate(row["definition"]),
        event=Event.from_row(row),
        repository_id=row["repository_id"],
        clone_url=row["clone_url"],
        clone_token=row["clone_token"],
        run_timeout_seconds=row["timeout_seconds"],
        run_seconds_left=row["run_seconds_left"],
        secrets=tuple(secrets),
        traceparent=row["traceparent"],
        before=None
        if row["before_id"] is None
        else Before(row["before_id"], row["before_pod_uid"], row["before_claimed_seconds"]),
    )


def _step(fact: StepFact) -> dict[str, Any]:
    return {
        "name": fact.name,
        "outcome": fact.outcome,
        "exit_code": fact.exit_code,
        "started_at": _text(fact.started_at),
        "finished_at": _text(fact.finished_at),
    }


def _text(instant: datetime | None) -> str | None:
    return (
        None
        if instant is None
        else instant.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    )
