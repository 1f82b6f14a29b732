"""`python -m tests [arguments of pytest]`: all tests, those that may run side by side on several workers,
then the others one after the other.

A test is marked `alone` if it measures time, counts requests, or changes something that the whole machine or
node has.

Arguments are pytest's own, `-m` and `-n` included. The exit status is the worse one of the two calls; that
there is nothing to run counts only if it holds for both. The last lines name what failed in either. If
TOWPATH_TEST_REPORTS names a folder, a JUnit report of each call stays there.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from devstack.settings import ServerSources

CLOSING_LINES = "closing-lines"
"""The file in the folder of reports that names what failed."""
NOTHING_TO_RUN = 5
"""pytest's exit status where no test was collected or chosen."""
MORE_WORKERS = 1
"""Than cores: most tests wait for other processes half of their time."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", add_help=False, allow_abbrev=False)
    parser.add_argument("-m", dest="marks", default="")
    parser.add_argument("-n", dest="workers", type=int, default=default_workers())
    own, rest = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(os.environ.get("TOWPATH_TEST_REPORTS") or folder)
        reports.mkdir(exist_ok=True)
        statuses = calls(own, rest, reports)
        closing = reports / CLOSING_LINES
        if closing.exists():
            print(closing.read_text(encoding="utf-8"), end="", flush=True)
    return verdict(statuses)


def calls(own: argparse.Namespace, rest: Sequence[str], reports: Path) -> list[int]:
    """The exit statuses of both calls.

    `reports` gets a JUnit report of each, and the names of what failed.
    """
    parallel = ["-n", str(own.workers), "--dist=loadfile", "--no-loadscope-reorder"] if own.workers else []
    shared = [f"--closing-lines={reports / CLOSING_LINES}", *rest]
    return [
        call("side by side", reports, [*parallel, "-m", both(own.marks, "not alone"), *shared]),
        call("alone", reports, ["-n0", "-m", both(own.marks, "alone"), *shared]),
    ]


def default_workers() -> int:
    """0 where a broker's only virtual host was given, which all tests then use."""
    return 0 if ServerSources().amqp_url else len(os.sched_getaffinity(0)) + MORE_WORKERS


def both(marks: str, ours: str) -> str:
    """A marker expression that holds where both hold."""
    return f"({marks}) and {ours}" if marks else ours


def verdict(statuses: Sequence[int]) -> int:
    """The worst status; NOTHING_TO_RUN only where no call had anything to run."""
    told = [status for status in statuses if status != NOTHING_TO_RUN]
    return max(told) if told else NOTHING_TO_RUN


def call(title: str, reports: Path, arguments: Sequence[str]) -> int:
    """Run pytest in a process of its own, and print how long it took.

    A signal counts as status 2, as pytest counts an interrupt.
    """
    began_at = time.monotonic()
    report = f"--junitxml={reports / str(time.time_ns())}.xml"
    with subprocess.Popen([sys.executable, "-m", "pytest", report, *arguments]) as pytest:
        try:
            status = pytest.wait()
        except KeyboardInterrupt:  # pytest has the signal too, and ends what it started
            status = pytest.wait()
    print(f"---- tests {title}: {time.monotonic() - began_at:.0f} s, exit status {status}", flush=True)
    return status if status >= 0 else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
