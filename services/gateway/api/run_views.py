"""The models of runs in the API, built from rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlencode

from pydantic import Field, TypeAdapter, ValidationError

from services.gateway.http.answers import View
from services.gateway.http.fields import TRACE_ID, Instant
from shared.pipeline.model import Combination, OnNew
from shared.statuses import AttemptStatus, Reason, Status, WaitingFor
from shared.tracing import trace_id_of

_COMBINATION: TypeAdapter[Combination] = TypeAdapter(Combination)

EventKind = Literal["push", "tag", "pull_request", "schedule", "manual"]


class RunSummary(View):
    id: int
    number: int = Field(description="Counts per pipeline, for people.")
    pipeline_config_id: int
    pipeline: str
    revision_id: int
    revision: int
    event_id: int
    event: EventKind
    repository_id: int
    repository: str
    branch: str | None
    sha: str | None
    status: Status
    reason: Reason | None
    triggered_by: str
    rerun: int
    retry_of: int | None
    priority: int
    logs: str | None
    created_at: Instant
    started_at: Instant | None
    finished_at: Instant | None


class Step(View):
    """A step of a job, as reported by the job's own process."""

    name: str | None = None
    outcome: str | None = None
    exit_code: int | None = None
    started_at: Instant | None = None
    finished_at: Instant | None = None


class Attempt(View):
    id: int
    number: int
    status: AttemptStatus
    cluster: str
    outcome: Status | None
    reason: Reason | None
    message: str | None
    exit_code: int | None
    waiting_for: WaitingFor | None
    steps: list[Step]
    containers: list[str]
    warnings: list[str] = Field(
        description="What to know about how it runs, such as a network that it shares."
    )
    logs: str = Field(description="The log of its container `job`.")
    created_at: Instant
    claimed_at: Instant | None
    started_at: Instant | None = Field(description="When user code started.")
    finished_at: Instant | None

    @classmethod
    def of_job(cls, row: Mapping[str, Any], run_id: int, job: str) -> Self:
        place = urlencode({"job": job, "attempt": row["number"], "container": "job"})
        return cls.of({**row, "steps": _steps(row["steps"])}, logs=f"/runs/{run_id}/logs?{place}")


def _steps(stored: Any) -> list[Step]:
    """Parse the steps of an attempt, and skip those that cannot be parsed.

    Steps are reported by the job's own process, so they are untrusted. The verdict does not depend on them.
    """
    steps = []
    for step in stored if isinstance(stored, list) else []:
        try:
            steps.append(Step.model_validate(step))
        except ValidationError:
            continue
    return steps


class Job(View):
    id: int
    key: str = Field(
        description="Identifies it in the run: its name in the pipeline, with the values of its matrix: "
        "`test (3.12)`."
    )
    name: str = Field(description="Its title. The key, if the pipeline gives it no other.")
    matrix: dict[str, str] = Field(
        description="The values of its matrix as written, by their names. Empty for a job without a matrix."
    )
    position: int
    needs: list[str] = Field(description="The keys of the jobs that it needs: of a matrix all its jobs.")
    condition: str | None = Field(
        description="How its `if` was decided: `if: … → false because needs.test.result = 'failed'`. null: "
        "it has none, or it is not decided yet."
    )
    allow_failure: bool = Field(
        description="If it fails, the run and the jobs that need it go on as after a success. If this is an "
        "expression that names needed jobs, it is false until they have ended."
    )
    flaky: bool = Field(description="It succeeded only after its own code had failed in an earlier attempt.")
    outputs: dict[str, str] = Field(description="Those that the pipeline declares, of its last attempt.")
    status: Status
    reason: Reason | None
    waiting_for: WaitingFor | None = Field(description="On the cluster too: for room, a node or an image.")
    retry_at: Instant | None = Field(description="Between two attempts: when the next may begin.")
    place: int | None = Field(
        description="Waiting for a slot: how many jobs are before it; for a place in its group: how many "
        "runs. 1,000 at most."
    )
    message: str | None
    cluster: str
    carried_from: int | None = Field(
        description="In a retry of what failed: the job whose success counts here."
    )
    created_at: Instant
    ready_at: Instant | None
    admitted_at: Instant | None
    cancel_requested_at: Instant | None
    started_at: Instant | None
    finished_at: Instant | None
    attempts: list[Attempt]

    @classmethod
    def of_run(cls, row: Mapping[str, Any], run_id: int, attempts: Sequence[Mapping[str, Any]]) -> Self:
        """Create the model of a job. `attempts` are the rows of its attempts."""
        shown = [Attempt.of_job(attempt, run_id, row["key"]) for attempt in attempts]
        return cls.of(row, matrix=_matrix(row["matrix_values"]), attempts=shown)


def _matrix(stored: Any) -> dict[str, str]:
    """Return the values of a matrix as text, in the document's order. A job without a matrix stores none."""
    values: Combination = _COMBINATION.validate_python(stored or {})
    return {name: value.text for name, value in values.items()}


class Transition(View):
    """A status change of the run or of one of its jobs."""

    job_id: int | None
    from_status: Status | None
    to_status: Status
    reason: Reason | None
    cause: str = Field(
        description="What moved it, with its id: event, command, attempt, run (a newer one of its group); "
        "or deadline, group, fail_fast."
    )
    at: Instant


class Provenance(View):
    """The event, revision and trigger that the run was created from."""

    event_id: int
    event: EventKind
    delivery_id: str | None = Field(description="The forge's own id.")
    source: str | None
    sender: str | None
    revision_id: int
    revision: int
    triggered_by: str


class Concurrency(View):
    """The run's concurrency group."""

    group: str
    limit: int
    on_new: OnNew
    entered_at: Instant | None = Field(
        description="Since then it has a place, until its last attempt is over."
    )


class Approval(View):
    """The approval that a run of a pull request from a fork needs."""

    state: Literal["waiting", "approved", "void", "expired", "cancelled"] = Field(
        description="void: a newer push replaced it, its pull request was closed, or it ended without one."
    )
    expires_at: Instant
    approved_at: Instant | None
    approved_by: int | None = Field(description="A user.")


class LogGap(View):
    """A place in a log where lines may be missing."""

    job: str
    attempt: int
    container: str
    line: int = Field(description="The line of the log that is the gap marker.")
    reason: str


MOST_LOG_GAPS = 200


class LogState(NamedTuple):
    """The state of all logs of a run. `gaps` are rows."""

    complete: bool
    gaps: Sequence[Any]


class Run(RunSummary):
    log_complete: bool = Field(
        description="The run is over and every log of it stored to its end. `log_gaps` says where lines may "
        "be missing nevertheless."
    )
    log_gaps: list[LogGap] = Field(
        description=f"The places where lines may be missing; at most {MOST_LOG_GAPS}."
    )
    trace_id: str | None = Field(description=TRACE_ID)
    provenance: Provenance
    concurrency: Concurrency | None
    trusted: bool = Field(
        description="False if the code may come from somebody without write access to the repository."
    )
    trust: str | None = Field(description="What an untrusted run may not do, in a sentence.")
    approval: Approval | None = Field(description="null: it needs none.")
    jobs: list[Job]
    transitions: list[Transition]


def run_view(
    row: Mapping[str, Any], logs: LogState, parts: tuple[Sequence[Any], Sequence[Any], Sequence[Any]]
) -> Run:
    """Build the model of a run. `parts` are the rows of its jobs, attempts and transitions."""
    jobs, attempts, transitions = parts
    run_id = row["id"]
    shown = [
        Job.of_run(job, run_id, [attempt for attempt in attempts if attempt["job_id"] == job["id"]])
        for job in jobs
    ]
    return Run.of(
        row,
        log_complete=logs.complete,
        log_gaps=[LogGap.of(gap) for gap in logs.gaps],
        trace_id=trace_id_of(row["traceparent"]),
        provenance=Provenance.of(row, sender=row["sender_login"]),
        concurrency=_concurrency(row),
        trust=None if row["trusted"] else UNTRUSTED,
        approval=_approval(row),
        jobs=shown,
        transitions=[Transition.of(transition) for transition in transitions],
    )


UNTRUSTED = (
    "The code is from a fork and not trusted, also after an approval: the run gets no secrets, and writes no "
    "cache that trusted runs read."
)

_ENDED_BY = {Reason.CANCELLED_BY_USER: "cancelled", Reason.REJECTED: "expired"}


def _approval(row: Mapping[str, Any]) -> Approval | None:
    if row["approval_expires_at"] is None:
        return None
    if row["approved_at"] is not None:
        state = "approved"
    elif row["status"] == Status.PENDING:
        state = "waiting"
    else:
        state = _ENDED_BY.get(row["reason"], "void")
    return Approval(
        state=state,
        expires_at=row["approval_expires_at"],
        approved_at=row["approved_at"],
        approved_by=row["approved_by"],
    )


def _concurrency(row: Mapping[str, Any]) -> Concurrency | None:
    if row["concurrency_group"] is None:
        return None
    return Concurrency(
        group=row["concurrency_group"],
        limit=row["concurrency_limit"],
        on_new=row["on_new"],
        entered_at=row["group_entered_at"],
    )
