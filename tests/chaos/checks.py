"""The checks after a soak, when all parts work again and the last runs have had time to finish.

They compare the clients' journal, the lines that user code wrote to the oracle, and the tables.
"""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise

import asyncpg

from shared.statuses import ATTEMPT_MOVES, MOVES, TERMINAL, AttemptStatus, Status
from tests.chaos.load import Journal, Load, Sent
from tests.chaos.pipelines import BY_NAME, KINDS, expected_log
from tests.chaos.recovery import Wait
from tests.chaos.statements import LEFT_OVER, RUNS, TRANSITIONS, UNFINISHED
from tests.chaos.world import World

STUCK_SECONDS = 60.0
"""A run that has no verdict or no complete log this long after the last fault ended is stuck."""
LOGS_AT_ONCE = 8
_NO_FAULTS = {"untrue_runs", "platform_errors", "superseded"}


@dataclass
class Findings:
    """The violations that were found, a sentence each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    stuck: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    """Verdicts that differ from how the script ended."""
    log_errors: list[str] = field(default_factory=list)
    illegal: list[str] = field(default_factory=list)
    overlap: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    superseded: list[int] = field(default_factory=list)
    """Runs that a newer run ended, as intended."""
    untrue_runs: list[int] = field(default_factory=list)
    platform_errors: list[int] = field(default_factory=list)
    """Runs that ended as `error` with reason `platform` before user code of their last job started.

    The verdict is true, so such a run is no violation.
    """

    def counts(self) -> dict[str, int]:
        return {name: len(found) for name, found in vars(self).items() if name != "untrue_runs"}

    def sentences(self) -> list[str]:
        return [
            f"{name}: {sentence}"
            for name, found in vars(self).items()
            if name not in _NO_FAULTS
            for sentence in found
        ]


@dataclass(frozen=True, slots=True)
class Told:
    """A line that user code wrote."""

    what: str
    sha: str
    run_id: int
    job: str
    attempt: int
    at: float


def read_oracle(lines: list[str]) -> list[Told]:
    """Parse the oracle's lines. Identical lines count once: each has its time to the nanosecond."""
    found = []
    for line in dict.fromkeys(lines):
        what, sha, run_id, job, attempt, at = line.split()
        found.append(Told(what, sha, int(run_id), job, int(attempt), float(at)))
    return found


async def quiet(world: World, seconds: float = STUCK_SECONDS) -> float:
    """Wait up to `seconds` until no work is left. Return the seconds that this took."""
    started = time.monotonic()
    while time.monotonic() - started < seconds:
        async with world.database() as connection:
            if not await connection.fetchval(UNFINISHED):
                break
        await asyncio.sleep(0.5)
    return time.monotonic() - started


async def findings(world: World, load: Load, told: list[Told]) -> Findings:
    """Run every check."""
    for replica in world.database_proxies:
        world.expect_running(replica)
    found = Findings(violations=[*world.violations, *load.journal.given_up])
    async with world.database() as connection:
        runs = await connection.fetch(RUNS)
        found.stuck += [
            f"{row['count']} {row['what']}" for row in await connection.fetch(LEFT_OVER) if row["count"]
        ]
        found.illegal += _illegal_moves(await connection.fetch(TRANSITIONS))
    found.superseded += [run["id"] for run in runs if run["reason"] == "superseded"]
    by_sha: defaultdict[str, list[asyncpg.Record]] = defaultdict(list)
    for run in runs:
        by_sha[run["sha"]].append(run)
    lost_by_hand = world.cluster.deleted_runs if world.cluster else set()
    _check_events(found, load, by_sha, told, lost_by_hand)
    _check_retries(found, load.journal, runs)
    _check_starts(found, told)
    _check_groups(found, load.journal, told)
    await _check_logs(found, load, [run for run in runs if run["id"] not in lost_by_hand])
    if world.cluster:
        found.stuck += [
            f"pod {pod['metadata']['name']} is still there" for pod in await world.cluster.leftovers()
        ]
    return found


def waits(journal: Journal, told: list[Told], finished: dict[str, datetime]) -> list[Wait]:
    """Return the waits of every event: one for its start and one for its verdict.

    A queued run waits for its start only from the end of the run before it. A run that a newer one may end
    has no wait for its start.
    """
    starts: dict[str, float] = {}
    ends: dict[str, float] = {}
    for line in told:
        if line.what == "start":
            starts[line.sha] = min(line.at, starts.get(line.sha, line.at))
        if line.what == "end":
            ends[line.sha] = max(line.at, ends.get(line.sha, line.at))
    found = [
        Wait(ends[event.sha], finished[event.sha].timestamp())
        for event in journal.events
        if event.sha in ends and event.sha in finished
    ]
    alone = [event for event in journal.events if event.sha in starts and BY_NAME[event.kind].on_new is None]
    found += [Wait(event.accepted_at, starts[event.sha]) for event in alone]
    return found + _waits_in_queues(journal, starts, ends)


def _waits_in_queues(journal: Journal, starts: dict[str, float], ends: dict[str, float]) -> list[Wait]:
    found = []
    for kind in KINDS:
        if kind.on_new != "queue":
            continue
        queued = [event for event in journal.events if event.kind == kind.name and event.sha in starts]
        before = 0.0
        for event in sorted(queued, key=lambda event: starts[event.sha]):
            found.append(Wait(max(event.accepted_at, before), starts[event.sha]))
            before = ends.get(event.sha, starts[event.sha])
    return found


async def finished_at(world: World) -> dict[str, datetime]:
    """Return when the first run of each commit finished."""
    async with world.database() as connection:
        return {
            row["sha"]: row["finished_at"]
            for row in reversed(await connection.fetch(RUNS))
            if row["finished_at"] is not None and row["rerun"] == 0
        }


def _check_events(
    found: Findings,
    load: Load,
    by_sha: dict[str, list[asyncpg.Record]],
    told: list[Told],
    lost_by_hand: Collection[int] = (),
) -> None:
    ended = {(line.sha, line.job) for line in told if line.what == "end"}
    newest = {event.kind: event.order for event in sorted(load.journal.events, key=lambda event: event.order)}
    for event in load.journal.events:
        first_runs = [run for run in by_sha.get(event.sha, []) if run["rerun"] == 0]
        if not first_runs:
            found.lost.append(f"delivery {event.delivery_id} ({event.sha}) has no run")
            continue
        if len(first_runs) > 1:
            found.doubled.append(f"delivery {event.delivery_id} has {len(first_runs)} runs")
        run, kind = first_runs[0], BY_NAME[event.kind]
        status, reason = run["status"], run["reason"]
        if Status(status) not in TERMINAL:
            found.stuck.append(f"run {run['id']} is {status}")
            continue
        true = _true_ends(event, newest[kind.name])
        if run["id"] in lost_by_hand:
            true.add(("error", "lost"))
        if (status, reason) == ("error", "platform") and not any(
            line.sha == event.sha and line.job == kind.jobs[-1] for line in told
        ):
            found.platform_errors.append(run["id"])
        elif (status, reason) not in true:
            found.untrue.append(f"run {run['id']} of {kind.name} is {status} ({reason}): {run['message']}")
            found.untrue_runs.append(run["id"])
        if status == "success" and {(event.sha, job) for job in kind.jobs} - ended:
            found.untrue.append(f"run {run['id']} is green, and not all of its user code came to its end")


def _true_ends(event: Sent, newest: int) -> set[tuple[str, str | None]]:
    kind = BY_NAME[event.kind]
    true: set[tuple[str, str | None]] = {("failed", "script_failed") if kind.fails else ("success", None)}
    if event.cancelled:
        true.add(("cancelled", "cancelled_by_user"))
    if kind.is_superseded and event.order < newest:
        true.add(("cancelled", "superseded"))
    return true


def _check_retries(found: Findings, journal: Journal, runs: list[asyncpg.Record]) -> None:
    for run_id in journal.retries:
        again = [run for run in runs if run["retry_of"] == run_id]
        if not again:
            found.lost.append(f"the retry of run {run_id}")
        if len(again) > 1:
            found.doubled.append(f"run {run_id} was retried {len(again)} times")


def _check_starts(found: Findings, told: list[Told]) -> None:
    """Check that user code of an attempt starts once, and that attempts of one job never overlap."""
    starts: defaultdict[tuple[int, str, int], int] = defaultdict(int)
    lives: defaultdict[tuple[int, str], list[tuple[int, float]]] = defaultdict(list)
    for line in told:
        if line.what == "start":
            starts[line.run_id, line.job, line.attempt] += 1
        lives[line.run_id, line.job].append((line.attempt, line.at))
    found.doubled += [
        f"attempt {attempt} of {job} in run {run_id} started {count} times"
        for (run_id, job, attempt), count in starts.items()
        if count > 1
    ]
    for (run_id, job), lines in lives.items():
        in_time = [attempt for attempt, _ in sorted(lines, key=lambda line: line[1])]
        if in_time != sorted(in_time):
            found.overlap.append(f"attempts of {job} in run {run_id}")


def _check_groups(found: Findings, journal: Journal, told: list[Told]) -> None:
    """Check that no two runs of a group run at once.

    In groups with `cancel_older`, also check that no older push starts after a newer one.
    """
    of_groups = {event.sha: event for event in journal.events if BY_NAME[event.kind].on_new}
    found.overlap += [
        f"run {line.run_id} of {of_groups[line.sha].kind} found its group taken"
        for line in told
        if line.what == "overlap"
    ]
    for kind in KINDS:
        lines = sorted(
            (line for line in told if line.sha in of_groups and of_groups[line.sha].kind == kind.name),
            key=lambda line: line.at,
        )
        runs = [
            line.run_id
            for number, line in enumerate(lines)
            if number == 0 or lines[number - 1].run_id != line.run_id
        ]
        found.overlap += [
            f"run {run_id} of {kind.name} lived on beside another"
            for run_id, times in Counter(runs).items()
            if times > 1
        ]
        if kind.is_superseded:
            orders = [of_groups[line.sha].order for line in lines if line.what == "start"]
            found.untrue += [
                f"{kind.name}: push {after} started after push {before}, which is newer"
                for before, after in pairwise(orders)
                if after < before
            ]


async def _check_logs(found: Findings, load: Load, runs: list[asyncpg.Record]) -> None:
    """Check that the log of every job that ended has every line once and in order."""
    kinds = {event.sha: BY_NAME[event.kind] for event in load.journal.events if not event.cancelled}
    at_once = asyncio.Semaphore(LOGS_AT_ONCE)

    async def check(run: asyncpg.Record, job: str, expected: bytes) -> None:
        async with at_once:
            answer = await load.read(f"/runs/{run['id']}/logs?job={job}&container=job")
        if answer.raw != expected:
            found.log_errors.append(
                f"{job} in run {run['id']}: {answer.status}, {len(answer.raw)} bytes instead of "
                f"{len(expected)}"
            )

    checks = []
    for run in runs:
        kind = kinds.get(run["sha"])
        if kind is not None and run["status"] in {"success", "failed"}:
            checks += [
                check(run, job, expected_log(kind, run["sha"])) for job in kind.jobs if job in run["ran"]
            ]
    await asyncio.gather(*checks)
    found.log_errors += [f"run {run['id']} has {run['gaps']} gaps" for run in runs if run["gaps"]]


def _illegal_moves(rows: list[asyncpg.Record]) -> list[str]:
    """Return the transitions that the tables of `shared.statuses` do not allow, and gaps in the histories."""
    illegal = []
    latest: dict[str, str | None] = {}
    for row in rows:
        what, before, after = row["what"], row["from_status"], row["to_status"]
        if before is not None and not _is_allowed(row["is_attempt"], before, after):
            illegal.append(f"{what} went from {before} to {after}")
        if what in latest and latest[what] != before:
            illegal.append(f"{what} was {latest[what]}, and went from {before} to {after}")
        latest[what] = after
    return illegal


def _is_allowed(is_attempt: bool, before: str, after: str) -> bool:
    return (
        AttemptStatus(after) in ATTEMPT_MOVES[AttemptStatus(before)]
        if is_attempt
        else Status(after) in MOVES[Status(before)]
    )
