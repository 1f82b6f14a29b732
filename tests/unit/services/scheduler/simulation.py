"""Simulates a run with a scheduler, executors and an unreliable broker in virtual time.

Messages are lost, duplicated and reordered, and processes die between two steps. Only the engine is real. The
tables are dictionaries, and a transaction is a method. A seed determines everything that happens.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from services.scheduler.engine import INFRA, SCRIPT, fold, stop
from shared.pipeline.model import Job, Matrix, MatrixValue, Retry
from shared.states import AttemptState, JobState, RunState
from shared.statuses import MOVES, TERMINAL, Reason, Status

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
OUTCOMES = (
    (Status.SUCCESS, None),
    (Status.SUCCESS, None),
    (Status.SUCCESS, None),
    (Status.FAILED, Reason.SCRIPT_FAILED),
    (Status.ERROR, Reason.NODE_LOST),
    (Status.ERROR, Reason.LOST),
)

CONDITIONS = (
    None,
    None,
    "success()",
    "failure()",
    "always()",
    "!failure()",
    "matrix.x != '1'",
    "always() && matrix.x != '1'",
)

Attempt = tuple[str, int]
"""A job and the number of one of its attempts."""
Message = tuple[str, Attempt]


@dataclass
class Simulation:
    """The simulation. Call `play`, then read `run`, `attempts` and `starts`."""

    seed: int
    slots: int = 2
    messages: list[Message] = field(default_factory=list)
    attempts: dict[Attempt, AttemptState] = field(default_factory=dict)
    asked_to_stop: set[str] = field(default_factory=set)
    starts: dict[Attempt, int] = field(default_factory=dict)
    """The number of starts of user code for each attempt."""

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311 - to be repeated
        self.now = EPOCH
        self.is_stopped = False
        ids = [f"job-{number}" for number in range(self.chance.randint(1, 6))]
        jobs: dict[str, list[JobState]] = {}
        for number, job_id in enumerate(ids):
            wanted = self.chance.sample(ids[:number], self.chance.randint(0, min(number, 2)))
            needs = tuple(need.key for of_job in wanted for need in jobs[of_job])
            jobs[job_id] = self._jobs(job_id, needs)
        self.run = fold(RunState(jobs=tuple(job for some in jobs.values() for job in some)), {}, self.now)

    def _jobs(self, job_id: str, needs: tuple[str, ...]) -> list[JobState]:
        """Return a plain job, one with rules, or those of a matrix."""
        retry = Retry(infra=self.chance.randint(0, 2), script=self.chance.randint(0, 2), backoff_seconds=5)
        if self.chance.random() < 0.3:
            return [JobState(key=job_id, needs=needs, retry=retry)]
        matrix = None
        keys = [job_id]
        if self.chance.random() < 0.6:
            limit = self.chance.choice([None, 1, 2])
            matrix = Matrix(fail_fast=self.chance.random() < 0.6, max_parallel=limit)
            keys = [f"{job_id} ({value})" for value in range(self.chance.randint(1, 4))]
        condition = self.chance.choice(CONDITIONS)
        allow_failure = self.chance.random() < 0.2
        return [
            JobState(
                key=key,
                needs=needs,
                retry=retry,
                job=Job(
                    id=job_id,
                    key=key,
                    name=key,
                    steps=(),
                    matrix=matrix,
                    matrix_values={} if matrix is None else {"x": MatrixValue(text=str(value))},
                    condition=condition,
                    allow_failure=allow_failure,
                    contexts={} if condition is None else {"event": {}, "inputs": {}, "env": {}},
                ),
            )
            for value, key in enumerate(keys)
        ]

    def play(self, steps: int = 150) -> None:
        """Take random steps.

        Then run only admission, ends of user code and reconcilers until the run is over.
        """
        for _ in range(steps):
            self._step(self.chance.choice(self._steps()))
        for _ in range(300):
            if self.run.status in TERMINAL:
                return
            self.now += timedelta(seconds=10)
            for step in (self._admit, self._reconcile_executor, self._end_one, self._reconcile_scheduler):
                self._step(step)
        raise AssertionError(f"seed {self.seed}: still {self.run}")

    def _steps(self) -> tuple[Callable[[], None], ...]:
        usual = (
            self._admit,
            self._hear,
            self._hear,
            self._hear,
            self._end_one,
            self._end_one,
            self._double,
            self._lose,
        )
        return (
            *usual,
            self._reconcile_executor,
            self._reconcile_scheduler,
            self._wait,
            *((self._stop,) if self.chance.random() < 0.1 else ()),
        )

    def _step(self, step: Callable[[], None]) -> None:
        before = self.run
        self.now += timedelta(milliseconds=self.chance.randint(0, 500))
        step()
        self._check(before)

    # ------------------------------------------------ the scheduler

    def _admit(self) -> None:
        """Give free slots to waiting jobs.

        The messages may be lost at once, because the process may die after its commit.
        """
        for job in self.run.jobs:
            may_wait = job.retry_at is not None and job.retry_at > self.now
            if (
                job.status is Status.PENDING
                and job.ready_at is not None
                and not job.admitted
                and not may_wait
                and self.in_slots() < self.slots
            ):
                self._change(replace(job, admitted=True, waiting_for=None))
                self.messages.append(("ready", (job.key, job.attempt)))

    def _reconcile_scheduler(self) -> None:
        wanted = {
            job.key: self.attempts[job.key, job.attempt]
            for job in self.run.jobs
            if (job.key, job.attempt) in self.attempts
        }
        self.run = fold(self.run, wanted, self.now)

    def _stop(self) -> None:
        self.is_stopped = True
        self.run = stop(self.run, Reason.CANCELLED_BY_USER, "command:1", self.now)
        self.messages += [
            ("stop", (job.key, job.attempt)) for job in self.run.jobs if job.cancel_reason is not None
        ]

    def in_slots(self) -> int:
        return sum(job.admitted and job.slot_freed_at is None for job in self.run.jobs)

    def _change(self, job: JobState) -> None:
        self.run = replace(
            self.run, jobs=tuple(job if job.key == known.key else known for known in self.run.jobs)
        )

    def _job(self, name: str) -> JobState:
        return next(job for job in self.run.jobs if job.key == name)

    # ------------------------------------------------ the executors

    def _start(self, attempt: Attempt) -> None:
        """Create the row, claim it and start user code, each once.

        The process may die between two of these steps.
        """
        job = self._job(attempt[0])
        if not job.admitted or job.attempt != attempt[1]:
            return
        row = self.attempts.setdefault(
            attempt, self._over("Stopped") if job.cancel_reason is not None else AttemptState()
        )
        if self.chance.random() < 0.2 or row.finished_at is not None or row.claimed_at is not None:
            return
        if job.cancel_reason is not None:
            self.attempts[attempt] = self._over("Stopped")
            return
        self.attempts[attempt] = replace(row, claimed_at=self.now)
        self.starts[attempt] = self.starts.get(attempt, 0) + 1
        self.messages.append(("fact", attempt))

    def _over(self, message: str) -> AttemptState:
        return AttemptState(
            finished_at=self.now, outcome=Status.CANCELLED, reason=Reason.CANCELLED_BY_USER, message=message
        )

    def _end_one(self) -> None:
        """End the user code of one attempt. The verdict is stored once."""
        live = [
            attempt
            for attempt, row in self.attempts.items()
            if row.claimed_at is not None and row.finished_at is None
        ]
        if live:
            attempt = self.chance.choice(live)
            stopped = self._job(attempt[0]).cancel_reason is not None and self.chance.random() < 0.7
            outcome, reason = (
                (Status.CANCELLED, Reason.CANCELLED_BY_USER) if stopped else self.chance.choice(OUTCOMES)
            )
            self.attempts[attempt] = replace(
                self.attempts[attempt], finished_at=self.now, outcome=outcome, reason=reason
            )
            self.messages.append(("fact", attempt))

    def _reconcile_executor(self) -> None:
        for job in self.run.jobs:
            if job.admitted and job.slot_freed_at is None:
                self._start((job.key, job.attempt))

    # ------------------------------------------------ the broker and the clock

    def _hear(self) -> None:
        """Receive a random message instead of the first one."""
        if self.messages:
            kind, attempt = self.messages.pop(self.chance.randrange(len(self.messages)))
            if kind == "fact":
                self._reconcile_scheduler()
            else:
                self._start(attempt)

    def _double(self) -> None:
        if self.messages:
            self.messages.append(self.chance.choice(self.messages))

    def _lose(self) -> None:
        if self.messages:
            self.messages.pop(self.chance.randrange(len(self.messages)))

    def _wait(self) -> None:
        self.now += timedelta(seconds=self.chance.randint(1, 30))

    # ------------------------------------------------ what always holds

    def _check(self, before: RunState) -> None:
        seed = f"seed {self.seed}"
        assert self.run.status is before.status or self.run.status in MOVES[before.status], seed
        for was, job in zip(before.jobs, self.run.jobs, strict=True):
            assert job.status is was.status or job.status in MOVES[was.status], f"{seed}: {was} {job}"
            assert not was.is_over or job == was, f"{seed}: {was} {job}"
        assert self.in_slots() <= self.slots, seed
        assert all(count == 1 for count in self.starts.values()), seed
        for name in {name for name, _ in self.attempts}:
            live = [
                number
                for (job, number), row in self.attempts.items()
                if job == name and row.claimed_at is not None and row.finished_at is None
            ]
            assert len(live) <= 1, f"{seed}: attempts {live} of {name} live at once"
        assert (self.run.status in TERMINAL) == all(job.is_over for job in self.run.jobs), seed
        for was, job in zip(before.jobs, self.run.jobs, strict=True):
            self._check_rules(was, job, seed)
        self._check_matrices(seed)

    def _check_rules(self, was: JobState, job: JobState, seed: str) -> None:
        assert not (self.is_stopped and job.admitted and not was.admitted), f"{seed}: {job} after the stop"
        assert not (self.is_stopped and not job.is_over and not job.admitted), f"{seed}: {job} may start"
        if job.status is Status.SKIPPED:
            assert job.message, f"{seed}: {job}"
            assert job.reason is not None, f"{seed}: {job}"
            assert not any(name == job.key for name, _ in self.attempts), f"{seed}: {job}"
        assert job.attempt - 1 == job.infra_retries + job.script_retries, f"{seed}: {job}"
        assert job.infra_retries <= job.retry.infra, f"{seed}: {job}"
        assert job.script_retries <= job.retry.script, f"{seed}: {job}"

    def _check_matrices(self, seed: str) -> None:
        """Check the two rules of each matrix against what its jobs do."""
        matrices: dict[str, list[JobState]] = {}
        for job in self.run.jobs:
            if job.job is not None and job.job.matrix is not None:
                matrices.setdefault(job.job.id, []).append(job)
        for jobs in matrices.values():
            matrix = jobs[0].job.matrix if jobs[0].job is not None else None
            assert matrix is not None
            if matrix.max_parallel is not None:
                under_way = [job.key for job in jobs if job.ready_at is not None and not job.is_over]
                started = {
                    name
                    for (name, _), row in self.attempts.items()
                    if row.claimed_at is not None and not self._job(name).is_over
                }
                assert len(under_way) <= matrix.max_parallel, f"{seed}: {under_way}"
                assert len(started & {job.key for job in jobs}) <= matrix.max_parallel, f"{seed}: {started}"
            failed = [job for job in jobs if job.result in (Status.FAILED, Status.ERROR)]
            left = [job for job in jobs if not job.is_over and job.cancel_reason is None]
            assert not (matrix.fail_fast and failed and left), f"{seed}: {failed} but {left}"
            stopped = [job for job in jobs if Reason.FAIL_FAST in (job.reason, job.cancel_reason)]
            assert not stopped or (matrix.fail_fast and failed), f"{seed}: {stopped}"
            assert all(job.is_over for job in failed), seed

    def expected_retries(self, key: str) -> bool:
        """Return whether the job's retries allowed another attempt after each attempt but the last."""
        reasons = [row.reason for (name, _), row in sorted(self.attempts.items()) if name == key][:-1]
        retry = self._job(key).retry
        infra, script = (sum(reason in some for reason in reasons) for some in (INFRA, SCRIPT))
        return infra + script == len(reasons) and infra <= retry.infra and script <= retry.script
