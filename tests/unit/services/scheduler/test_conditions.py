"""The decision about a job when its needs have ended, with GitHub's decision beside it.

Each row has how the need ended, the job's `if`, our decision and GitHub's. If they differ, it has the reason.
GitHub's are those of its documentation ("Status check functions", "jobs.<job_id>.if", "jobs.<job_id>.needs").
Its result `failure` is ours `failed`.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pytest

from services.scheduler.engine import fold, stop
from services.scheduler.planning import plan
from shared.events import Event, EventKind
from shared.pipeline.load import load
from shared.pipeline.model import Retry
from shared.states import AttemptState, JobState, RunState
from shared.statuses import TERMINAL, Reason, Status, WaitingFor

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
EVENT = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True, ref="refs/heads/main", branch="main")
STEPS = "steps: [{ run: make }]"
RUNS, SKIPPED, CANCELLED = "runs", "skipped", "cancelled"
UNKNOWN = "can't be written"

DIRECT = "our functions look at direct needs only, GitHub's at all ancestors"
STOPPED = "no job starts in a stopped run"
OURS = "GitHub has no `if` for a single job of a matrix"
PLATFORM = "GitHub does not tell a failure of its platform from one of the job"


def run_of(jobs: str) -> RunState:
    text = f"version: 1\nrepository: octo/web\non: {{ push: {{}} }}\njobs:\n{jobs}"
    planned = plan(load(text), EVENT, NOW)
    retries = [Retry.model_validate(definition["retry"]) for definition in planned.definitions]
    pairs = zip(planned.state.jobs, retries, strict=True)
    return replace(planned.state, jobs=tuple(replace(job, retry=retry) for job, retry in pairs))


def of(run: RunState, key: str) -> JobState:
    return next(job for job in run.jobs if job.key == key)


def admit(run: RunState) -> RunState:
    """Give a slot to each job that waits for one."""
    return replace(
        run,
        jobs=tuple(
            replace(job, admitted=True, waiting_for=None)
            if job.waiting_for in (WaitingFor.SLOT, WaitingFor.RETRY_BACKOFF) and job.ready_at is not None
            else job
            for job in run.jobs
        ),
    )


def end(run: RunState, key: str, outcome: Status, reason: Reason | None = None) -> RunState:
    """Run an attempt of the job."""
    attempt = AttemptState(
        claimed_at=NOW, finished_at=NOW + timedelta(seconds=1), outcome=outcome, reason=reason
    )
    run = admit(run)
    assert of(run, key).admitted, of(run, key)
    return fold(run, {key: attempt}, NOW)


def fail(run: RunState, key: str) -> RunState:
    return end(run, key, Status.FAILED, Reason.SCRIPT_FAILED)


def succeed(run: RunState, key: str) -> RunState:
    return end(run, key, Status.SUCCESS)


def cancel(run: RunState, key: str) -> RunState:
    stopped = stop(admit(run), Reason.CANCELLED_BY_USER, "command:1", NOW)
    return end(stopped, key, Status.CANCELLED, Reason.CANCELLED_BY_USER)


class Need(NamedTuple):
    """A needed job, and what happens to it: the key of a job and one of the functions above."""

    job: str
    events: tuple[str, ...] = ()


NEEDS = {
    "success": Need("{ %s }", ("succeed need",)),
    "failed": Need("{ %s }", ("fail need",)),
    "error": Need("{ %s }", ("lose need",)),
    "allowed failure": Need("{ allow_failure: true, %s }", ("fail need",)),
    "allowed failure by expression": Need(
        "{ allow_failure: \"${{ event.branch == 'main' }}\", %s }", ("fail need",)
    ),
    "error with allow_failure": Need("{ allow_failure: true, %s }", ("lose need",)),
    "skipped": Need("{ if: event.branch == 'x', %s }"),
    "cancelled": Need("{ %s }", ("cancel need",)),
    "retried, then success": Need("{ retry: { script: 1 }, %s }", ("fail need", "succeed need")),
    "retried, then failed": Need("{ retry: { script: 1 }, %s }", ("fail need", "fail need")),
    "lost, then success": Need("{ retry: { infra: 1 }, %s }", ("lose need", "succeed need")),
    "matrix, one failed": Need("{ matrix: { x: [1, 2], max_parallel: 1 }, %s }", ("fail need (1)",)),
    "matrix, one failure allowed": Need(
        "{ matrix: { x: [1, 2] }, allow_failure: '${{ matrix.x == 1 }}', %s }",
        ("fail need (1)", "succeed need (2)"),
    ),
    "matrix, partly skipped": Need("{ matrix: { x: [1, 2] }, if: matrix.x == 2, %s }", ("succeed need (2)",)),
    "matrix, partly skipped, rest failed": Need(
        "{ matrix: { x: [1, 2] }, if: matrix.x == 2, %s }", ("fail need (2)",)
    ),
    "matrix, skipped": Need("{ matrix: { x: [1, 2] }, if: matrix.x == 3, %s }"),
}

TRUE, FALSE = "event.branch == 'main'", "event.branch == 'x'"
LATER_TRUE, LATER_FALSE = "needs.need.result != 'x'", "needs.need.result == 'x'"

ROWS = [
    ("success", None, RUNS, RUNS, None),
    ("success", "success()", RUNS, RUNS, None),
    ("success", "failure()", SKIPPED, SKIPPED, None),
    ("success", "always()", RUNS, RUNS, None),
    ("success", TRUE, RUNS, RUNS, None),
    ("success", FALSE, SKIPPED, SKIPPED, None),
    ("success", LATER_TRUE, RUNS, RUNS, None),
    ("success", LATER_FALSE, SKIPPED, SKIPPED, None),
    ("success", "needs.need.result == 'success'", RUNS, RUNS, None),
    ("success", "always() && " + LATER_FALSE, SKIPPED, SKIPPED, None),
    ("failed", None, SKIPPED, SKIPPED, None),
    ("failed", "success()", SKIPPED, SKIPPED, None),
    ("failed", "failure()", RUNS, RUNS, None),
    ("failed", "always()", RUNS, RUNS, None),
    ("failed", "!success()", RUNS, RUNS, None),
    ("failed", "!failure()", SKIPPED, SKIPPED, None),
    ("failed", TRUE, SKIPPED, SKIPPED, None),
    ("failed", "needs.need.result == 'failed'", SKIPPED, SKIPPED, None),
    ("failed", "failure() && needs.need.result == 'failed'", RUNS, RUNS, None),
    ("failed", "failure() && " + FALSE, SKIPPED, SKIPPED, None),
    ("error", None, SKIPPED, SKIPPED, None),
    ("error", "failure()", RUNS, RUNS, None),
    ("error", "always() && needs.need.result == 'error'", RUNS, SKIPPED, PLATFORM),
    ("allowed failure", None, RUNS, RUNS, None),
    ("allowed failure", "failure()", SKIPPED, SKIPPED, None),
    ("allowed failure", "needs.need.result == 'success'", RUNS, RUNS, None),
    ("allowed failure by expression", None, RUNS, RUNS, None),
    ("error with allow_failure", None, SKIPPED, RUNS, PLATFORM),
    ("error with allow_failure", "failure()", RUNS, SKIPPED, PLATFORM),
    ("skipped", None, SKIPPED, SKIPPED, None),
    ("skipped", "success()", SKIPPED, SKIPPED, None),
    ("skipped", "failure()", SKIPPED, SKIPPED, None),
    ("skipped", "always()", RUNS, RUNS, None),
    ("skipped", "!failure()", RUNS, RUNS, None),
    ("skipped", "always() && needs.need.result == 'skipped'", RUNS, RUNS, None),
    ("skipped", TRUE, SKIPPED, SKIPPED, None),
    ("cancelled", None, CANCELLED, SKIPPED, STOPPED),
    ("cancelled", "failure()", CANCELLED, SKIPPED, STOPPED),
    ("cancelled", "always()", CANCELLED, RUNS, STOPPED),
    ("retried, then success", None, RUNS, RUNS, None),
    ("retried, then success", "failure()", SKIPPED, SKIPPED, None),
    ("retried, then failed", None, SKIPPED, SKIPPED, None),
    ("retried, then failed", "failure()", RUNS, RUNS, None),
    ("lost, then success", None, RUNS, RUNS, None),
    ("matrix, one failed", None, SKIPPED, SKIPPED, None),
    ("matrix, one failed", "failure() && needs.need.result == 'failed'", RUNS, RUNS, None),
    ("matrix, one failure allowed", None, RUNS, RUNS, None),
    ("matrix, one failure allowed", "needs.need.result == 'success'", RUNS, RUNS, None),
    ("matrix, partly skipped", None, RUNS, UNKNOWN, OURS),
    ("matrix, partly skipped", "success()", RUNS, UNKNOWN, OURS),
    ("matrix, partly skipped", "needs.need.result == 'success'", RUNS, UNKNOWN, OURS),
    ("matrix, partly skipped, rest failed", None, SKIPPED, SKIPPED, None),
    ("matrix, partly skipped, rest failed", "failure()", RUNS, RUNS, None),
    ("matrix, skipped", None, SKIPPED, SKIPPED, None),
    ("matrix, skipped", "always() && needs.need.result == 'skipped'", RUNS, RUNS, None),
]


def play(run: RunState, events: tuple[str, ...]) -> RunState:
    for event in events:
        what, _, key = event.partition(" ")
        match what:
            case "fail":
                run = fail(run, key)
            case "succeed":
                run = succeed(run, key)
            case "cancel":
                run = cancel(run, key)
            case "lose":
                run = end(run, key, Status.ERROR, Reason.EVICTED)
    return run


def decided(job: JobState) -> str:
    """Return what was decided about the job, and check that a skip has a sentence."""
    if job.status is Status.SKIPPED:
        assert job.message, job
        assert job.reason in (Reason.CONDITION_FALSE, Reason.DEPENDENCY_FAILED), job
    if job.status is Status.PENDING:
        return RUNS if job.ready_at is not None else f"waits for {job.waiting_for}"
    return str(job.status)


@pytest.mark.parametrize(("need", "condition", "ours", "github", "why_different"), ROWS)
def test_a_job_is_decided_by_how_its_need_ended(
    need: str, condition: str | None, ours: str, github: str, why_different: str | None
) -> None:
    needed = NEEDS[need]
    line = "" if condition is None else f'if: "{condition}", '
    run = run_of(f"  need: {needed.job.replace('%s', STEPS)}\n  job: {{ needs: [need], {line}{STEPS} }}")
    run = play(run, needed.events)
    assert decided(of(run, "job")) == ours, of(run, "job")
    assert (ours != github) == (why_different is not None)
    assert (run.status in TERMINAL) == (ours != RUNS)
    assert fold(run, {}, NOW) == run


CHAINS = [
    # `a`, `b` and `c` need one another in this order: events, the `if` of b and of c, the decision about c
    (("fail a",), (None, "failure()"), SKIPPED, RUNS, DIRECT),
    (("fail a",), (None, "always()"), RUNS, RUNS, None),
    (("fail a",), (None, None), SKIPPED, SKIPPED, None),
    (("fail a", "succeed b"), ("always()", None), RUNS, SKIPPED, DIRECT),
    (("fail a", "succeed b"), ("failure()", "failure()"), SKIPPED, RUNS, DIRECT),
    (("succeed a",), (FALSE, None), SKIPPED, SKIPPED, None),
    (("succeed a",), (FALSE, "!failure()"), RUNS, RUNS, None),
]


@pytest.mark.parametrize(("events", "conditions", "ours", "github", "why_different"), CHAINS)
def test_a_job_is_decided_by_its_direct_needs(
    events: tuple[str, ...],
    conditions: tuple[str | None, str | None],
    ours: str,
    github: str,
    why_different: str | None,
) -> None:
    b, c = ("" if text is None else f'if: "{text}", ' for text in conditions)
    run = run_of(f"  a: {{ {STEPS} }}\n  b: {{ needs: [a], {b}{STEPS} }}\n  c: {{ needs: [b], {c}{STEPS} }}")
    run = play(run, events)
    assert decided(of(run, "c")) == ours
    assert (ours != github) == (why_different is not None)


@pytest.mark.parametrize("condition", [None, "success()", "failure()", "always()"])
def test_a_job_with_a_status_function_waits_for_all_of_its_needs(condition: str | None) -> None:
    line = "" if condition is None else f"if: {condition}, "
    run = run_of(f"  a: {{ {STEPS} }}\n  b: {{ {STEPS} }}\n  job: {{ needs: [a, b], {line}{STEPS} }}")
    run = fail(run, "a")
    early = decided(of(run, "job"))
    assert early == (SKIPPED if condition is None else "waits for dependency")
    run = succeed(run, "b")
    assert decided(of(run, "job")) == (RUNS if condition in ("failure()", "always()") else SKIPPED)


@pytest.mark.parametrize("allow_failure", [False, True])
def test_a_matrix_is_stopped_by_a_failure_that_counts(allow_failure: bool) -> None:
    run = run_of(
        f"  a: {{ matrix: {{ x: [1, 2, 3], max_parallel: 2 }}, allow_failure: {str(allow_failure).lower()},"
        f" {STEPS} }}"
    )
    run = fail(run, "a (1)")
    second, third = of(run, "a (2)"), of(run, "a (3)")
    if allow_failure:
        assert (second.cancel_reason, third.waiting_for) == (None, WaitingFor.SLOT)
        return
    assert (second.cancel_reason, second.status) == (Reason.FAIL_FAST, Status.PENDING)
    assert (third.status, third.reason) == (Status.CANCELLED, Reason.FAIL_FAST)
    assert third.message == "`a (1)` of its matrix failed before it had started."
    run = end(run, "a (2)", Status.CANCELLED, Reason.CANCELLED_BY_USER)
    assert (of(run, "a (2)").reason, run.status) == (Reason.FAIL_FAST, Status.FAILED)


def test_a_matrix_is_stopped_only_by_the_last_attempt() -> None:
    run = run_of(f"  a: {{ matrix: {{ x: [1, 2] }}, retry: {{ script: 1 }}, {STEPS} }}")
    run = fail(run, "a (1)")
    assert (of(run, "a (1)").waiting_for, of(run, "a (2)").cancel_reason) == (WaitingFor.RETRY_BACKOFF, None)
    run = fail(run, "a (1)")
    assert (of(run, "a (1)").status, of(run, "a (2)").cancel_reason) == (Status.FAILED, Reason.FAIL_FAST)


def test_a_job_between_two_attempts_keeps_its_place_in_the_matrix() -> None:
    run = run_of(f"  a: {{ matrix: {{ x: [1, 2], max_parallel: 1 }}, retry: {{ script: 1 }}, {STEPS} }}")
    run = fail(run, "a (1)")
    assert of(run, "a (2)").waiting_for is WaitingFor.MAX_PARALLEL
    run = succeed(run, "a (1)")
    assert of(run, "a (2)").waiting_for is WaitingFor.SLOT


def outputs_run(event: str) -> JobState:
    text = """
  a:
    outputs: { o: "${{ format('{0}{0}', steps.s.outputs.o) }}" }
    steps: [{ id: s, run: make }]"""
    run = admit(run_of(text))
    attempt = AttemptState(
        claimed_at=NOW, finished_at=NOW, outputs={"s": {"o": "x" * 40_000}}, **VERDICTS[event]
    )
    run = fold(run, {"a": attempt}, NOW)
    return of(run, "a")


VERDICTS: dict[str, dict[str, Any]] = {
    "success": {"outcome": Status.SUCCESS},
    "failed": {"outcome": Status.FAILED, "reason": Reason.SCRIPT_FAILED},
    "cancelled": {"outcome": Status.CANCELLED, "reason": Reason.CANCELLED_BY_USER},
}


@pytest.mark.parametrize(
    ("verdict", "status"),
    [("success", Status.ERROR), ("failed", Status.FAILED), ("cancelled", Status.CANCELLED)],
)
def test_outputs_that_can_not_be_made_change_no_verdict_but_success(verdict: str, status: Status) -> None:
    job = outputs_run(verdict)
    assert (job.status, job.outputs) == (status, {})
