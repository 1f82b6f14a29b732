"""Tests of the engine: for any graph and any order of facts, verdicts do not change.

A run ends exactly when all its jobs have ended.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.scheduler.engine import INFRA, fold, stop
from shared.pipeline.model import Retry
from shared.states import AttemptState, JobState, RunState
from shared.statuses import MOVES, REASONS_OF, TERMINAL, WORST_FIRST, Reason, Status, WaitingFor

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
WISH = "command:7"
VERDICTS = [
    (Status.SUCCESS, None),
    (Status.FAILED, Reason.SCRIPT_FAILED),
    (Status.ERROR, Reason.LOST),
    (Status.CANCELLED, Reason.CANCELLED_BY_USER),
]
LOSSES = [(Status.ERROR, reason) for reason in sorted(INFRA)]


def run_of(graph: Mapping[str, tuple[str, ...]]) -> RunState:
    """Return a run that was just planned."""
    return fold(
        RunState(jobs=tuple(JobState(key=name, needs=needs) for name, needs in graph.items())), {}, NOW
    )


def job(run: RunState, name: str) -> JobState:
    return next(one for one in run.jobs if one.key == name)


def changed(run: RunState, name: str, **values: object) -> RunState:
    changes: Any = values
    return replace(run, jobs=tuple(replace(one, **changes) if one.key == name else one for one in run.jobs))


def admitted(run: RunState, *names: str) -> RunState:
    for name in names:
        run = changed(run, name, admitted=True, waiting_for=None)
    return run


def claimed(at: datetime = NOW) -> AttemptState:
    return AttemptState(claimed_at=at)


def ended(
    outcome: Status = Status.SUCCESS, reason: Reason | None = None, *, claimed_at: datetime | None = NOW
) -> AttemptState:
    return AttemptState(
        claimed_at=claimed_at, finished_at=LATER, outcome=outcome, reason=reason, message="why"
    )


def trying_again(infra: int, backoff_seconds: int = 10) -> RunState:
    """Return a run of one admitted job that allows this many retries after infrastructure failures."""
    return admitted(
        changed(run_of({"only": ()}), "only", retry=Retry(infra=infra, backoff_seconds=backoff_seconds)),
        "only",
    )


def lost(run: RunState, reason: Reason = Reason.EVICTED) -> RunState:
    return fold(run, {"only": ended(Status.ERROR, reason)}, LATER)


CHAIN = {"first": (), "second": ("first",), "third": ("second",)}
PAIR = {"left": (), "right": ()}


def test_a_claim_makes_job_and_run_running() -> None:
    run = fold(admitted(run_of(PAIR), "left"), {"left": claimed()}, LATER)
    assert (job(run, "left").status, job(run, "left").started_at, job(run, "right").status) == (
        Status.RUNNING,
        NOW,
        Status.PENDING,
    )
    assert (run.status, run.started_at) == (Status.RUNNING, NOW)


def test_a_success_makes_what_needs_it_ready() -> None:
    run = fold(admitted(run_of(CHAIN), "first"), {"first": ended()}, LATER)
    assert (job(run, "first").status, job(run, "first").slot_freed_at) == (Status.SUCCESS, LATER)
    assert (job(run, "second").ready_at, job(run, "second").waiting_for) == (LATER, WaitingFor.SLOT)
    assert (job(run, "third").ready_at, job(run, "third").waiting_for) == (None, WaitingFor.DEPENDENCY)


@pytest.mark.parametrize(("outcome", "reason"), VERDICTS[1:])
def test_anything_else_skips_what_needs_it(outcome: Status, reason: Reason) -> None:
    run = fold(admitted(run_of(CHAIN), "first"), {"first": ended(outcome, reason)}, LATER)
    assert [(one.status, one.reason) for one in run.jobs[1:]] == [
        (Status.SKIPPED, Reason.DEPENDENCY_FAILED)
    ] * 2
    assert (run.status, run.reason, run.finished_at) == (outcome, reason, LATER)


def test_a_job_waits_for_all_its_needs() -> None:
    run = admitted(run_of({"left": (), "right": (), "both": ("left", "right")}), "left", "right")
    run = fold(run, {"left": ended()}, LATER)
    assert job(run, "both").ready_at is None
    run = fold(run, {"left": ended(), "right": ended()}, LATER)
    assert job(run, "both").ready_at == LATER


def test_an_end_without_a_claim_is_an_end() -> None:
    run = fold(
        admitted(run_of({"only": ()}), "only"),
        {"only": ended(Status.ERROR, Reason.IMAGE_MISSING, claimed_at=None)},
        LATER,
    )
    assert (run.status, run.reason, run.started_at, job(run, "only").started_at) == (
        Status.ERROR,
        Reason.IMAGE_MISSING,
        None,
        None,
    )


def test_facts_about_a_job_that_was_not_admitted_are_not_heard() -> None:
    run = run_of(PAIR)
    assert fold(run, {"left": ended()}, LATER) == run


def test_a_late_word_about_a_job_or_a_run_that_has_ended_is_not_heard() -> None:
    run = fold(
        admitted(run_of({"only": ()}), "only"), {"only": ended(Status.FAILED, Reason.SCRIPT_FAILED)}, LATER
    )
    assert fold(run, {"only": ended()}, LATER) == run
    assert fold(run, {"only": claimed()}, LATER) == run
    assert stop(run, Reason.CANCELLED_BY_USER, WISH, LATER) == run
    assert fold(changed(run, "only", status=Status.SUCCESS, reason=None), {}, LATER).status is Status.FAILED


def test_a_stop_ends_what_has_no_slot_and_asks_the_rest() -> None:
    run = stop(admitted(run_of(PAIR), "left"), Reason.CANCELLED_BY_USER, WISH, LATER)
    assert (job(run, "left").status, job(run, "left").cancel_reason) == (
        Status.PENDING,
        Reason.CANCELLED_BY_USER,
    )
    assert (job(run, "right").status, job(run, "right").reason) == (
        Status.CANCELLED,
        Reason.CANCELLED_BY_USER,
    )
    assert run.status is Status.PENDING


@pytest.mark.parametrize(
    ("why", "attempt", "verdict"),
    [
        (
            Reason.CANCELLED_BY_USER,
            ended(Status.CANCELLED, Reason.CANCELLED_BY_USER),
            (Status.CANCELLED, Reason.CANCELLED_BY_USER),
        ),
        (
            Reason.SUPERSEDED,
            ended(Status.CANCELLED, Reason.CANCELLED_BY_USER),
            (Status.CANCELLED, Reason.SUPERSEDED),
        ),
        (
            Reason.TIMED_OUT,
            ended(Status.CANCELLED, Reason.CANCELLED_BY_USER),
            (Status.FAILED, Reason.TIMED_OUT),
        ),
        (Reason.CANCELLED_BY_USER, ended(Status.SUCCESS), (Status.SUCCESS, None)),
        (Reason.TIMED_OUT, ended(Status.FAILED, Reason.SCRIPT_FAILED), (Status.FAILED, Reason.SCRIPT_FAILED)),
    ],
)
def test_an_attempt_asked_to_stop_keeps_its_true_verdict(
    why: Reason, attempt: AttemptState, verdict: tuple[Status, Reason | None]
) -> None:
    run = fold(stop(admitted(run_of({"only": ()}), "only"), why, WISH, NOW), {"only": attempt}, LATER)
    assert (run.status, run.reason) == verdict


def test_the_first_wish_to_stop_counts() -> None:
    run = stop(
        stop(admitted(run_of({"only": ()}), "only"), Reason.SUPERSEDED, "run:8", NOW),
        Reason.TIMED_OUT,
        "deadline",
        LATER,
    )
    assert (job(run, "only").cancel_reason, job(run, "only").cancel_cause) == (Reason.SUPERSEDED, "run:8")


def test_the_worst_end_is_the_runs_and_of_equals_the_first() -> None:
    assert set(WORST_FIRST) == TERMINAL
    run = admitted(run_of({"a": (), "b": (), "c": ()}), "a", "b", "c")
    run = fold(
        run,
        {
            "a": ended(),
            "b": ended(Status.FAILED, Reason.OOM_KILLED),
            "c": ended(Status.FAILED, Reason.SCRIPT_FAILED),
        },
        LATER,
    )
    assert (run.status, run.reason) == (Status.FAILED, Reason.OOM_KILLED)


@pytest.mark.parametrize("reason", sorted(INFRA))
def test_an_attempt_that_the_cluster_lost_is_followed_by_another(reason: Reason) -> None:
    run = lost(fold(trying_again(1), {"only": claimed()}, NOW), reason)
    (one,) = run.jobs
    assert (one.status, one.reason, one.waiting_for, one.started_at) == (
        Status.PENDING,
        None,
        WaitingFor.RETRY_BACKOFF,
        None,
    )
    assert (one.admitted, one.slot_freed_at, one.attempt, one.retry_at) == (
        False,
        None,
        2,
        LATER + timedelta(seconds=10),
    )
    assert one.message == f"Attempt 1 ended with `{reason}`; attempt 2 of at most 2 follows."
    assert (run.status, run.started_at) == (Status.RUNNING, NOW)


@pytest.mark.parametrize("reason", sorted(set(Reason) - INFRA))
def test_nothing_else_is_tried_again(reason: Reason) -> None:
    (outcome,) = [status for status, reasons in REASONS_OF.items() if reason in reasons]
    run = fold(trying_again(10), {"only": ended(outcome, reason)}, LATER)
    assert (run.status, run.reason, job(run, "only").attempt) == (outcome, reason, 1)


def test_a_run_that_never_started_stays_pending_while_its_job_is_tried_again() -> None:
    run = fold(trying_again(1), {"only": ended(Status.ERROR, Reason.IMAGE_REGISTRY, claimed_at=None)}, LATER)
    assert (run.status, run.started_at, job(run, "only").waiting_for) == (
        Status.PENDING,
        None,
        WaitingFor.RETRY_BACKOFF,
    )


def test_when_no_attempt_is_left_the_last_loss_is_the_verdict() -> None:
    run = lost(admitted(lost(trying_again(1)), "only"), Reason.NODE_LOST)
    assert (run.status, run.reason, job(run, "only").slot_freed_at) == (Status.ERROR, Reason.NODE_LOST, LATER)


@pytest.mark.parametrize(
    ("backoff_seconds", "pauses"),
    [(10, [10, 20, 40, 80]), (1000, [1000, 2000, 3600, 3600]), (3600, [3600, 3600])],
)
def test_each_pause_is_twice_as_long_up_to_an_hour(backoff_seconds: int, pauses: list[int]) -> None:
    run = trying_again(10, backoff_seconds)
    for pause in pauses:
        run = admitted(lost(run), "only")
        assert job(run, "only").retry_at == LATER + timedelta(seconds=pause)


def test_the_loss_of_an_attempt_makes_one_new_attempt_however_often_it_is_heard_of() -> None:
    once = lost(trying_again(3))
    assert lost(once) == once


def test_an_attempt_that_was_asked_to_stop_is_not_tried_again() -> None:
    run = lost(stop(trying_again(3), Reason.CANCELLED_BY_USER, WISH, NOW))
    assert (run.status, run.reason) == (Status.ERROR, Reason.EVICTED)


def test_a_stop_in_the_pause_ends_the_job_at_once() -> None:
    run = stop(lost(trying_again(3)), Reason.CANCELLED_BY_USER, WISH, LATER)
    assert (run.status, run.reason) == (Status.CANCELLED, Reason.CANCELLED_BY_USER)
    assert job(run, "only").message == "It was stopped before it was tried again."


def test_what_needs_a_job_waits_until_it_succeeds_in_the_end() -> None:
    run = admitted(changed(run_of(CHAIN), "first", retry=Retry(infra=1)), "first")
    run = fold(run, {"first": ended(Status.ERROR, Reason.PREEMPTED)}, LATER)
    assert (job(run, "second").status, job(run, "second").waiting_for) == (
        Status.PENDING,
        WaitingFor.DEPENDENCY,
    )
    run = fold(admitted(run, "first"), {"first": ended()}, LATER)
    assert (job(run, "first").message, job(run, "second").waiting_for) == ("why", WaitingFor.SLOT)


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, tuple[str, ...]]:
    """Draw any graph without cycles, with its jobs in any order."""
    names = [f"j{n}" for n in range(draw(st.integers(1, 7)))]
    needs = {
        name: tuple(draw(st.lists(st.sampled_from(names[:index]), unique=True))) if index else ()
        for index, name in enumerate(names)
    }
    return {name: needs[name] for name in draw(st.permutations(names))}


@given(graphs())
def test_a_graph_without_failures_runs_to_success(graph: dict[str, tuple[str, ...]]) -> None:
    run, attempts = run_of(graph), dict[str, AttemptState]()
    for _ in graph:
        ready = [one.key for one in run.jobs if one.ready_at is not None and not one.is_over]
        attempts |= {name: ended() for name in ready}
        run = fold(admitted(run, *ready), attempts, LATER)
    assert run.status is Status.SUCCESS


class Runs(RuleBasedStateMachine):
    """A run to which admissions, claims, verdicts, losses and stop requests happen at any time.

    A fold sees any part of the recorded facts.
    """

    @initialize(graph=graphs(), data=st.data())
    def plan(self, graph: dict[str, tuple[str, ...]], data: st.DataObject) -> None:
        self.run = run_of(graph)
        for name in graph:
            self.run = changed(self.run, name, retry=Retry(infra=data.draw(st.integers(0, 2))))
        self.attempts: dict[tuple[str, int], AttemptState] = {}
        self.now = NOW

    @property
    def recorded(self) -> dict[str, AttemptState]:
        """Return the recorded state of each job's current attempt."""
        return {
            one.key: self.attempts[one.key, one.attempt]
            for one in self.run.jobs
            if (one.key, one.attempt) in self.attempts
        }

    def move(self, after: RunState) -> None:
        for before, one in zip(self.run.jobs, after.jobs, strict=True):
            assert one.status is before.status or one.status in MOVES[before.status]
            if before.is_over:
                assert one == before
            if one.attempt != before.attempt:
                assert (one.attempt, self.attempts[one.key, before.attempt].reason in INFRA) == (
                    before.attempt + 1,
                    True,
                )
        assert after.status is self.run.status or after.status in MOVES[self.run.status]
        if self.run.status in TERMINAL:
            assert after == self.run
        self.run = after
        self.now += timedelta(seconds=1)

    def admitted_jobs(self) -> list[str]:
        return [one.key for one in self.run.jobs if one.admitted]

    def wanted(self, name: str) -> tuple[str, int]:
        return name, job(self.run, name).attempt

    def record_end(self, name: str, attempt: AttemptState) -> None:
        if self.attempts.get(self.wanted(name), claimed()).finished_at is None:
            self.attempts[self.wanted(name)] = attempt

    @rule(data=st.data())
    def admit(self, data: st.DataObject) -> None:
        ready = [
            one.key
            for one in self.run.jobs
            if one.ready_at is not None and not one.admitted and not one.is_over
        ]
        if ready:
            self.run = admitted(self.run, data.draw(st.sampled_from(ready)))

    @precondition(lambda self: self.admitted_jobs())
    @rule(data=st.data())
    def claim(self, data: st.DataObject) -> None:
        self.attempts.setdefault(
            self.wanted(data.draw(st.sampled_from(self.admitted_jobs()))), claimed(self.now)
        )

    @precondition(lambda self: self.admitted_jobs())
    @rule(data=st.data(), verdict=st.sampled_from(VERDICTS + LOSSES))
    def end(self, data: st.DataObject, verdict: tuple[Status, Reason | None]) -> None:
        name = data.draw(st.sampled_from(self.admitted_jobs()))
        self.record_end(
            name,
            AttemptState(claimed_at=self.now, finished_at=self.now, outcome=verdict[0], reason=verdict[1]),
        )

    @rule(data=st.data())
    def hear(self, data: st.DataObject) -> None:
        """Fold the facts about some attempts, possibly for the second time."""
        heard = data.draw(st.sets(st.sampled_from(sorted(self.recorded)))) if self.recorded else set()
        self.move(fold(self.run, {name: self.recorded[name] for name in heard}, self.now))

    @rule(reason=st.sampled_from([Reason.CANCELLED_BY_USER, Reason.SUPERSEDED, Reason.TIMED_OUT]))
    def ask_to_stop(self, reason: Reason) -> None:
        self.move(stop(self.run, reason, WISH, self.now))

    @invariant()
    def folding_again_changes_nothing(self) -> None:
        once = fold(self.run, self.recorded, self.now)
        assert fold(once, self.recorded, self.now + timedelta(hours=1)) == once

    @invariant()
    def a_run_ends_exactly_when_its_jobs_have(self) -> None:
        assert (self.run.status in TERMINAL) is all(one.is_over for one in self.run.jobs)

    @invariant()
    def every_end_has_its_reason_and_time(self) -> None:
        everything: list[JobState | RunState] = [*self.run.jobs, self.run]
        for one in everything:
            assert (one.finished_at is not None) is (one.status in TERMINAL)
            assert one.reason in REASONS_OF.get(one.status, {None})

    @invariant()
    def no_job_has_more_attempts_than_it_allows(self) -> None:
        assert all(1 <= one.attempt <= 1 + one.retry.infra for one in self.run.jobs)

    @invariant()
    def a_job_without_a_slot_says_what_it_waits_for(self) -> None:
        for one in self.run.jobs:
            assert (one.waiting_for is not None) is (not one.is_over and not one.admitted)

    @invariant()
    def a_slot_is_freed_when_the_attempt_is_over_and_not_before(self) -> None:
        for one in self.run.jobs:
            assert (one.slot_freed_at is not None) is (one.admitted and one.is_over)

    def teardown(self) -> None:
        """End every admitted attempt, retries included, and check that the run is over."""
        for _ in range(sum(1 + one.retry.infra for one in self.run.jobs)):
            ready = [one.key for one in self.run.jobs if one.ready_at is not None and not one.is_over]
            self.run = admitted(self.run, *ready)
            for name in ready:
                self.record_end(name, ended())
            self.move(fold(self.run, self.recorded, self.now))
        assert self.run.status in TERMINAL


TestRuns = Runs.TestCase
TestRuns.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
