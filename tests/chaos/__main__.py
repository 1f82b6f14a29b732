"""`python -m tests.chaos [--seconds N] [--seed N] [--rate N]`: steady load, random faults of every kind, two replicas of everything; then every check.

Ends 1 where anything is not as promised. The same seed breaks the same parts in the same order for the same times.
"""

import argparse
import asyncio
import json
import random
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import aiohttp
import asyncpg
from aio_pika.exceptions import AMQPError

from devstack.errors import DevstackError
from devstack.places import state_directory
from devstack.stack import CHECKOUT
from tests.chaos import database_faults
from tests.chaos.checks import findings, finished_at, quiet, read_oracle, waits
from tests.chaos.faults import Fault, every_fault
from tests.chaos.load import Load
from tests.chaos.recovery import Outage, recoveries
from tests.chaos.report import Injected, Report, Soak, report
from tests.chaos.world import World, open_world
from tests.harness.client import Client
from tests.harness.oracle import FileOracle

TOGETHER = 0.25
"""How often two faults come at once."""
REST_SECONDS = (0.5, 2.0)
PROGRESS_SECONDS = 10.0
_NOT_INJECTED = (DevstackError, OSError, TimeoutError, AMQPError, RuntimeError, asyncpg.PostgresError, asyncpg.InterfaceError)


def shuffled_for_ever(faults: list[Fault], chance: random.Random) -> Iterator[Fault]:
    """Every kind once, then every kind once again in another order."""
    while True:
        yield from chance.sample(faults, len(faults))


class Trouble:
    """Breaks parts and mends them, one or two at a time, until it is told to stop."""

    def __init__(self, world: World) -> None:
        self._world = world
        faults = every_fault()
        self._next = shuffled_for_ever(faults, world.chance)
        self.now: list[str] = []
        self.injected = Injected([], [], len(faults))

    async def run(self, seconds: float) -> None:
        """Everything is whole again when it returns."""
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            count = 2 if self._world.chance.random() < TOGETHER else 1
            chosen = [(fault, self._world.chance.uniform(*fault.seconds)) for fault in (next(self._next) for _ in range(count))]
            rest_seconds = self._world.chance.uniform(*REST_SECONDS)
            await asyncio.gather(*(self._inject(fault, seconds) for fault, seconds in chosen))
            await asyncio.sleep(rest_seconds)

    async def _inject(self, fault: Fault, seconds: float) -> None:
        began_at = time.time()
        self.now.append(fault.kind)
        try:
            async with fault.broken(self._world):
                await asyncio.sleep(seconds)
        except _NOT_INJECTED as error:  # the other of two has broken what this one needs
            self.injected.not_injected.append(f"{fault.kind}: {error}")
            await self._world.mend()
        else:
            self.injected.outages.append(Outage(fault.kind, began_at, time.time()))
        finally:
            self.now.remove(fault.kind)


async def soak(seed: int, seconds: float, rate: float) -> Report:
    """Everything, from nothing to the report."""
    async with AsyncExitStack() as open_ones:
        world = await open_ones.enter_async_context(open_world(random.Random(seed)))  # noqa: S311 - a seed is to be repeated, not to be secret
        timeout, connector = aiohttp.ClientTimeout(total=60), aiohttp.TCPConnector(limit=0)
        session = await open_ones.enter_async_context(aiohttp.ClientSession(timeout=timeout, connector=connector))
        oracle = FileOracle(world.mounts)
        load, trouble = Load(world, session, oracle, rate), Trouble(world)
        await load.prepare()
        await database_faults.prepare(world)
        say(f"seed {seed}: {seconds:.0f} s, {rate:g} events a second, {trouble.injected.kinds} kinds of faults; logs in {world.stack.directory / 'logs'}")
        showing = asyncio.create_task(show(load, trouble))
        await asyncio.gather(load.run(seconds), trouble.run(seconds))
        showing.cancel()
        say("whole again; waiting for the last runs")
        quiet_seconds = await quiet(world)
        told = read_oracle(oracle.lines)
        client = Client(session, world.stack.address(), (world.stack.directory / "token").read_text())
        found = await findings(world, load, told, client)
        recovered = recoveries(trouble.injected.outages, waits(load.journal, told, await finished_at(world)))
        for sentence in found.sentences():
            say(f"NOT AS PROMISED: {sentence}")
        for run_id in (*found.untrue_runs, *found.platform_errors):
            log = (await client.get(f"/runs/{run_id}/logs")).raw
            say(f"the log of run {run_id}: {log[:2000]!r}")
        for sentence in trouble.injected.not_injected:
            say(f"not injected: {sentence.splitlines()[0]}")
        if found.sentences():
            keep_logs(world)
        for outage, took in sorted(recovered, key=lambda one: -one[1])[:5]:
            say(f"slowest recoveries: {took:.1f} s after {outage.kind}")
        return report(Soak(seed, seconds, quiet_seconds, await world.versions()), load.journal, found, trouble.injected, recovered)


async def show(load: Load, trouble: Trouble) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS_SECONDS)
        passed = time.monotonic() - started
        done = len(trouble.injected.outages)
        say(f"{passed:4.0f} s  {len(load.journal.events)} accepted, {load.journal.refused} sent again, {done} faults; now: {', '.join(trouble.now) or 'whole'}")


def keep_logs(world: World) -> None:
    """What the services said, for whoever looks for the reason."""
    kept = state_directory(CHECKOUT) / "chaos-logs"
    kept.mkdir(exist_ok=True)
    for log in (world.stack.directory / "logs").glob("*.log"):
        (kept / log.name).write_bytes(log.read_bytes())
    say(f"the services' logs are kept in {kept}")


def say(line: str) -> None:
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--rate", type=float, default=3, help="events a second")
    wanted = parser.parse_args()
    seed = secrets.randbelow(10**6) if wanted.seed is None else wanted.seed
    done = asyncio.run(soak(seed, wanted.seconds, wanted.rate))
    path = state_directory(CHECKOUT) / "chaos.json"
    path.write_text(json.dumps(done.as_json(), indent=2) + "\n")
    say(f"\n{done.table()}\n\nwritten to {path}\n{'as promised' if done.is_as_promised else 'NOT AS PROMISED'}")
    return 0 if done.is_as_promised else 1


if __name__ == "__main__":
    sys.exit(main())
