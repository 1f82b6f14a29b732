"""`make bench`: measures Buildbot, then Towpath, prints the table and writes `bench/results/`.

Only one system runs at a time. Each figure has its own time limit, and the whole takes less than a quarter of
an hour. A figure that cannot be measured is recorded as failed with its reason. The others continue, and the
exit code is 1.
"""

import argparse
import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import aiohttp

from bench import machine, report
from bench.buildbot_side import buildbot
from bench.figures import Failed, Measured, Row, rows_of
from bench.profile import Profiler
from bench.sending import BenchError
from bench.towpath_side import towpath
from devstack.errors import DevstackError
from devstack.install import install_missing
from devstack.places import state_directory
from devstack.processes import Process
from devstack.stack import CHECKOUT
from shared.errors import Transient

START_SECONDS = 300
"""Limit for the start of a system. Buildbot's first start installs it."""

WHOLE_SECONDS = 840
"""Figures that have not started or not ended by then have failed."""

Outcomes = dict[str, report.Outcome]
_FAULTS = (BenchError, DevstackError, Transient, aiohttp.ClientError, TimeoutError, OSError)

_started_at = time.monotonic()


class Side(Protocol):
    """A system that runs and is ready to be measured."""

    @property
    def figures(self) -> Mapping[str, Callable[[], Awaitable[Measured]]]:
        """A function for each row's figure, in the order of execution.

        The figure that leaves the least data behind is first.
        """

    def services(self) -> Mapping[str, Process | None]:
        """The processes that the profiler samples, by name."""


async def measure(rows: list[Row], *, with_profile: bool) -> int:
    """Measure the rows, print and write the results, and return the exit code."""
    install_missing(say)
    directory = state_directory(CHECKOUT) / "bench"
    directory.mkdir(exist_ok=True)
    profiler = Profiler(directory / "profile") if with_profile else None
    about = machine.facts()
    reference = await measure_system(
        "Buildbot", buildbot(directory, say), [row for row in rows if row.has_reference]
    )
    ours = await measure_system("Towpath", towpath(directory, say), rows, profiler)
    about |= {
        "versions": machine.versions(directory / "buildbot-venv"),
        "seconds": round(time.monotonic() - _started_at),
    }
    lines = report.lines_of(rows, ours, reference)
    print(f"\n{report.table(lines)}\n", flush=True)
    for path in report.write(Path(__file__).with_name("results"), lines, about, datetime.now(UTC)):
        say(f"written: {path.relative_to(CHECKOUT)}")
    return 1 if any(line.failed for line in lines) else 0


async def measure_system(
    name: str, opening: AbstractAsyncContextManager[Side], rows: list[Row], profiler: Profiler | None = None
) -> Outcomes:
    """Measure all figures of one system, which runs only for this.

    If the system does not start, all figures have failed for that reason.
    """
    opened = contextlib.AsyncExitStack()
    try:
        async with asyncio.timeout(START_SECONDS):
            side = await opened.enter_async_context(opening)
    except _FAULTS as error:
        say(f"{name} failed: {error}")
        return {row.key: _failed(error) for row in rows}
    async with opened:
        order = list(side.figures)
        return {
            row.key: await take(name, side, row, profiler)
            for row in sorted(rows, key=lambda row: order.index(row.key))
        }


async def take(name: str, side: Side, row: Row, profiler: Profiler | None) -> report.Outcome:
    """Measure one figure within its time limit."""
    say(f"{name} {row.key}: {row.title}")
    outcome: report.Outcome
    limit_seconds = max(0, min(row.limit_seconds, WHOLE_SECONDS - (time.monotonic() - _started_at)))
    sampled = profiler.of(row.key, side.services()) if profiler else contextlib.nullcontext()
    try:
        async with asyncio.timeout(limit_seconds), sampled:
            outcome = await side.figures[row.key]()
    except TimeoutError:
        outcome = Failed(f"not done within {limit_seconds:.0f} s")
    except _FAULTS as error:
        outcome = _failed(error)
    say(f"  {outcome.value:.4g} {row.unit}" if isinstance(outcome, Measured) else f"  failed: {outcome.why}")
    return outcome


def _failed(error: BaseException) -> Failed:
    return Failed(str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}")


def say(line: str) -> None:
    print(f"[{time.monotonic() - _started_at:5.0f} s] {line}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure Towpath beside Buildbot on this machine."
    )
    parser.add_argument(
        "benches",
        nargs="*",
        metavar="B1",
        help="which of B1, B2, B4, B5, by spaces or commas; all without one",
    )
    parser.add_argument(
        "--profile", action="store_true", help="sample Towpath's services by py-spy; figures are slower then"
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        rows = rows_of(arguments.benches)
        return asyncio.run(measure(rows, with_profile=arguments.profile))
    except (ValueError, BenchError, DevstackError) as error:
        print(f"bench failed: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("bench interrupted; what it started is stopped", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
