"""`python -m tests.entered`: print the modules that one webhook enters, for each service.

A private installation handles one push from the webhook to the sealed log and the removal of its pod. An
earlier push has opened the connections and filled the caches. Tasks that also run when nothing happens are
not counted, such as reconcilers and the renewal of leases. `hook/sitecustomize.py` records the functions.
"""

import asyncio
import json
import os
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.pushes import Series
from bench.sending import BenchError, send_one
from bench.store import Wanted
from bench.towpath_stack import Running, running_towpath
from devstack.errors import DevstackError
from devstack.places import state_directory
from devstack.stack import CHECKOUT, SERVICES
from tests.harness.waiting import until

HOOK = Path(__file__).with_name("hook")
NAME, FORGE_ID = "entered", 301
IDLE_SECONDS = 12.0
"""Longer than the interval of every periodic task but the refresh of webhook secrets (30 s)."""
REMOVAL_SECONDS = 3.0
"""The executor removes the pod of a sealed log within this time."""

Entered = Mapping[str, list[str]]
"""The functions that were entered, by module."""


def table(entered: Mapping[str, Entered]) -> str:
    """Return the modules of each service with the number of their functions that were entered. Pure."""
    lines: list[str] = []
    for service, modules in entered.items():
        lines.append(f"{service}: {len(modules)} modules")
        lines += [f"  {len(names):4} functions  {module}" for module, names in sorted(modules.items())]
    different = {module for modules in entered.values() for module in modules}
    in_all = sum(map(len, entered.values()))
    return "\n".join(
        [*lines, f"in all: {len(different)} different modules ({in_all} counted for each service)"]
    )


async def run() -> None:
    directory = state_directory(CHECKOUT) / "entered"
    folder = directory / "functions"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        "PYTHONPATH": str(HOOK),
        "TOWPATH_TEST_ENTERED": str(folder),
        "TOWPATH_RECONCILE_SECONDS": "2",
    }
    async with running_towpath(directory, say, environment) as running:
        await running.register(NAME, FORGE_ID, "echo hello")
        series = Series(f"bench/{NAME}", FORGE_ID, running.secret, seed="entered", branch="main")
        await push(running, series, 0)
        next_phase(running)
        say(f"idle for {IDLE_SECONDS:g} s")
        await asyncio.sleep(IDLE_SECONDS)
        next_phase(running)
        say("one webhook")
        await push(running, series, 1)
        next_phase(running)
        print(table({service: await written(folder, service) for service in SERVICES}), flush=True)


async def push(running: Running, series: Series, number: int) -> None:
    """Send a push, and return when its run has ended, its log is sealed and its pod is removed."""
    await send_one(running.session, running.hook, series, number)
    sealed = Wanted(
        "the sealed log",
        "hello_run",
        lambda row: row["sealed"] and not row["unsealed"],
        60,
        poll_seconds=0.05,
    )
    await running.watch.until(sealed, series.sha(number))
    await asyncio.sleep(REMOVAL_SECONDS)


def next_phase(running: Running) -> None:
    for service, process in running.services().items():
        if process is None:
            raise BenchError(f"{service} has ended")
        os.kill(process.pid, signal.SIGUSR1)


async def written(folder: Path, service: str) -> Entered:
    path = folder / f"{service}.json"

    async def exists() -> bool:
        return path.exists()

    await until(exists, within=10, what=str(path))
    found: Entered = json.loads(path.read_text())
    return found


def say(text: str) -> None:
    print(f"# {text}", file=sys.stderr, flush=True)


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        asyncio.run(run())
    except (BenchError, DevstackError) as error:
        print(f"the modules could not be counted: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
