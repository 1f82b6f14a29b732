"""Run steady load and random faults of every kind against two replicas of each service, then check all.

Usage: `python -m tests.chaos [--seconds N] [--seed N] [--rate N] [--least N]`. The exit status is 1 if a
check fails or if the soak itself raises an exception; the last lines of the output then name its file and
line. The same seed breaks the same parts in the same order for the same times.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp

from devstack.places import state_directory
from devstack.stack import CHECKOUT
from tests.chaos import database_faults
from tests.chaos.checks import Told, findings, finished_at, quiet, read_oracle, waits
from tests.chaos.load import Load
from tests.chaos.recovery import recoveries
from tests.chaos.report import Report, Soak, report
from tests.chaos.tracebacks import closing_lines, whole_lines
from tests.chaos.trouble import Trouble
from tests.chaos.world import World, open_world

PROGRESS_SECONDS = 10.0


@dataclass(frozen=True)
class Wanted:
    """The parsed command-line arguments."""

    seed: int
    seconds: float
    rate: float
    least: int


async def soak(wanted: Wanted) -> Report:
    """Open the world, run load and faults, wait for the last runs, and return the report."""
    async with AsyncExitStack() as open_ones:
        choices = random.Random(wanted.seed)  # noqa: S311 - has to be repeatable
        world = await open_ones.enter_async_context(open_world(choices))
        timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
        session = await open_ones.enter_async_context(
            aiohttp.ClientSession(timeout=timeout, connector=connector)
        )
        oracle = world.backend.oracle()
        load, trouble = Load(world, session, oracle, wanted.rate), Trouble(world)
        await load.prepare()
        await database_faults.prepare(world)
        kinds = len(trouble.injected.kinds)
        say(
            f"seed {wanted.seed}: {wanted.seconds:.0f} s, {wanted.rate:g} events a second, {kinds} kinds "
            f"of faults; logs in {world.stack.directory / 'logs'}"
        )
        started = time.monotonic()
        await break_under_load(wanted, load, trouble)
        seconds = time.monotonic() - started
        say("whole again; waiting for the last runs")
        quiet_seconds = await quiet(world)
        return await judged(
            world,
            load,
            trouble,
            Soak(wanted.seed, round(seconds), quiet_seconds, await world.versions()),
            read_oracle(oracle.lines),
        )


async def break_under_load(wanted: Wanted, load: Load, trouble: Trouble) -> None:
    """Run the faults, the load and the progress output at once. An exception of one of them ends all."""
    async with asyncio.TaskGroup() as tasks:
        showing = tasks.create_task(show(load, trouble))
        breaking = tasks.create_task(trouble.run(wanted.seconds, wanted.least))
        await load.run(breaking)
        breaking.result()
        showing.cancel()


async def judged(world: World, load: Load, trouble: Trouble, said: Soak, told: list[Told]) -> Report:
    """Run every check, print its findings, and return the report."""
    started = time.monotonic()
    found = await findings(world, load, told)
    recovered = recoveries(
        trouble.injected.outages, waits(load.journal, told, await finished_at(world)), trouble.injected.failed
    )
    say(f"everything was checked within {time.monotonic() - started:.0f} s")
    for sentence in found.sentences():
        say(f"NOT AS PROMISED: {sentence}")
    for run_id in (*found.untrue_runs, *found.platform_errors):
        log = (await load.read(f"/runs/{run_id}/logs")).raw
        say(f"the log of run {run_id}: {log[:2000]!r}")
    if found.sentences():
        keep_logs(world)
    for outage, took in sorted(recovered, key=lambda one: -one[1])[:5]:
        say(f"slowest recoveries: {took:.1f} s after {outage.kind}")
    return report(said, load.journal, found, trouble.injected, recovered)


async def show(load: Load, trouble: Trouble) -> None:
    started, told = time.monotonic(), 0
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        passed = time.monotonic() - started
        for sentence in trouble.injected.notes[told:]:
            say(f"        not done, and tried again: {sentence}")
            told += 1
        done = len(trouble.injected.outages)
        say(
            f"{passed:4.0f} s  {len(load.journal.events)} accepted, {load.journal.refused} sent again, "
            f"{done} faults; now: {', '.join(trouble.now) or 'whole'}"
        )


def keep_logs(world: World) -> None:
    """Copy the services' logs to the state directory, so that a failure can be analysed."""
    kept = state_directory(CHECKOUT) / "chaos-logs"
    kept.mkdir(exist_ok=True)
    for log in (world.stack.directory / "logs").glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    say(f"the services' logs are kept in {kept}")


def say(line: str) -> None:
    print(line, flush=True)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument(
        "--rate", type=float, default=None, help="events a second: 3, or 0.5 where jobs are pods"
    )
    parser.add_argument(
        "--least", type=int, default=0, help="go on until every kind of fault was injected so often"
    )
    given = parser.parse_args(arguments)
    seed = secrets.randbelow(10**6) if given.seed is None else given.seed
    usual_rate = 0.5 if os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes" else 3
    try:
        return ended(asyncio.run(soak(Wanted(seed, given.seconds, given.rate or usual_rate, given.least))))
    except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - any bug of the soak
        whole, closing = whole_lines(error), closing_lines(error)
    gc.collect()  # asyncio logs errors of abandoned tasks when they are collected: before the last lines
    complain([] if closing == whole else whole)
    complain([f"the soak with seed {seed} ended by an error of its own", *closing])
    return 1


def ended(done: Report) -> int:
    """Print and store the report. Return the exit status."""
    path = state_directory(CHECKOUT) / "chaos.json"
    path.write_text(json.dumps(done.as_json(), indent=2) + "\n")
    say(
        f"\n{done.table()}\n\nwritten to {path}\n"
        + ("as promised" if done.is_as_promised else "NOT AS PROMISED")
    )
    return 0 if done.is_as_promised else 1


def complain(lines: Sequence[str]) -> None:
    print(*lines, sep="\n", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
