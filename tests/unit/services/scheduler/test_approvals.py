"""Runs that wait for an approval, in thousands of orders of approvals, pushes, cancels and expiries."""

from collections.abc import Callable
from dataclasses import replace

from services.scheduler.concurrency import UNTRUSTED, membership
from services.scheduler.engine import approve, fold, stop
from shared.pipeline.model import Concurrency
from shared.states import JobState, RunState
from shared.statuses import TERMINAL, Reason, Status, WaitingFor
from tests.unit.services.scheduler.simulation import EPOCH, Simulation


class ForkSimulation(Simulation):
    """A run of a fork. What ends the wait comes at random times."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.ended_by: Reason | None = None
        self.is_approved = False
        jobs = tuple(
            JobState(key=job.key, needs=job.needs, retry=job.retry, job=job.job) for job in self.run.jobs
        )
        self.run = fold(RunState(jobs=jobs, awaits_approval=True), {}, self.now)

    def play(self, steps: int = 150) -> None:
        for _ in range(steps):
            self._step(self.chance.choice(self._steps()))
        self._step(self._expire)
        super().play(0)

    def _steps(self) -> tuple[Callable[[], None], ...]:
        rare = (self._approve, self._push, self._expire, self._cancel)
        return (*super()._steps(), *((self.chance.choice(rare),) if self.chance.random() < 0.4 else ()))

    def _stop(self) -> None:
        """The only requests to stop are those below."""

    def _approve(self) -> None:
        if self.run.awaits_approval and self.run.status not in TERMINAL:
            self.is_approved = True
            self.run = approve(self.run, self.now, in_group=True)

    def _push(self) -> None:
        if self.run.status is Status.PENDING:
            self._end(Reason.SUPERSEDED)

    def _cancel(self) -> None:
        if self.run.status not in TERMINAL:
            self._end(Reason.CANCELLED_BY_USER)

    def _expire(self) -> None:
        if self.run.awaits_approval and self.run.status not in TERMINAL:
            self._end(Reason.REJECTED)

    def _end(self, reason: Reason) -> None:
        self.ended_by = self.ended_by or reason
        self.is_stopped = True
        self.run = stop(self.run, reason, "test", self.now)
        self.messages += [
            ("stop", (job.key, job.attempt)) for job in self.run.jobs if job.cancel_reason is not None
        ]

    def _check(self, before: RunState) -> None:
        super()._check(before)
        if self.run.awaits_approval:
            seed = f"seed {self.seed}"
            assert not self.is_approved, seed
            assert self.in_slots() == 0, seed
            assert self.attempts == {}, seed
            assert all(job.ready_at is None for job in self.run.jobs), seed


def test_nothing_starts_before_an_approval_and_every_run_ends() -> None:
    ends = set()
    for seed in range(300):
        simulation = ForkSimulation(seed)
        simulation.play(40)
        run = simulation.run
        assert run.status in TERMINAL
        if not simulation.is_approved:
            assert simulation.starts == {}, f"seed {seed}"
            assert run.status in {Status.CANCELLED, Status.SKIPPED}, f"seed {seed}"
            assert run.status is Status.SKIPPED or run.reason is simulation.ended_by, f"seed {seed}"
        ends.add((simulation.is_approved, simulation.ended_by))
    assert ends >= {
        (False, Reason.SUPERSEDED),
        (False, Reason.CANCELLED_BY_USER),
        (False, Reason.REJECTED),
        (True, None),
        (True, Reason.SUPERSEDED),
        (True, Reason.CANCELLED_BY_USER),
    }


def test_an_approved_run_enters_its_group_before_it_queues() -> None:
    waiting = fold(RunState(jobs=(JobState(key="a"),), awaits_approval=True, in_group=False), {}, EPOCH)
    assert waiting.jobs[0].waiting_for is WaitingFor.APPROVAL
    approved = approve(waiting, EPOCH, in_group=False)
    assert (approved.jobs[0].waiting_for, approved.jobs[0].ready_at) == (WaitingFor.GROUP, None)
    assert approve(waiting, EPOCH, in_group=True).jobs[0].ready_at == EPOCH


def test_an_ended_run_is_not_approved() -> None:
    waiting = fold(RunState(jobs=(JobState(key="a"),), awaits_approval=True), {}, EPOCH)
    ended = stop(waiting, Reason.REJECTED, "deadline", EPOCH, "Too late.")
    assert ended.jobs[0].message == "Too late."
    assert approve(ended, EPOCH, in_group=True) == ended
    assert replace(ended, awaits_approval=False).status is Status.CANCELLED


def test_no_name_of_a_group_is_shared_by_trusted_and_untrusted_runs() -> None:
    wanted = Concurrency(group="x")
    for name in ("main", f"{UNTRUSTED}main", f"trusted: {UNTRUSTED}main", "n" * 2000):
        trusted = membership(wanted, name, EPOCH)
        untrusted = membership(wanted, name, EPOCH, trusted=False)
        assert trusted is not None
        assert untrusted is not None
        assert untrusted.group.startswith(UNTRUSTED)
        assert not trusted.group.startswith(UNTRUSTED)
