"""`python -m tests [arguments of pytest]`: run all tests in two calls of pytest.

The first call runs the tests that may run in parallel, on several workers. The second call runs the tests
marked `alone`, one after the other. A test is marked `alone` if it measures time, counts requests, or changes
something that the whole machine or node shares.

The arguments are pytest's own, including `-m` and `-n`. The exit status is the worse of the two calls. "No
tests to run" is the result only if neither call had a test to run. The last lines of the output name the
failed tests of both calls. If TOWPATH_TEST_REPORTS names a folder, a JUnit report of each call is kept there.
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
"""The file in the reports folder that names the failed tests."""
NOTHING_TO_RUN = 5
"""pytest's exit status if no test was collected or selected."""
MORE_WORKERS = 1
"""Workers beyond the number of cores, because most tests wait for other processes half of their time."""


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
    """Run both calls and return their exit statuses.

    `reports` receives a JUnit report of each call, and the names of the failed tests.
    """
    parallel = ["-n", str(own.workers), "--dist=loadfile", "--no-loadscope-reorder"] if own.workers else []
    shared = [f"--closing-lines={reports / CLOSING_LINES}", *rest]
    return [
        call("side by side", reports, [*parallel, "-m", both(own.marks, "not alone"), *shared]),
        call("alone", reports, ["-n0", "-m", both(own.marks, "alone"), *shared]),
    ]


def default_workers() -> int:
    """Return the number of workers, or 0 if all tests must use the one virtual host of a given broker."""
    return 0 if ServerSources().amqp_url else len(os.sched_getaffinity(0)) + MORE_WORKERS


def both(marks: str, ours: str) -> str:
    """Return a marker expression that is true if both expressions are true."""
    return f"({marks}) and {ours}" if marks else ours


def verdict(statuses: Sequence[int]) -> int:
    """Return the worst status, or NOTHING_TO_RUN if no call had a test to run."""
    told = [status for status in statuses if status != NOTHING_TO_RUN]
    return max(told) if told else NOTHING_TO_RUN


def call(title: str, reports: Path, arguments: Sequence[str]) -> int:
    """Run pytest in its own process, print how long it took, and return its exit status.

    The end by a signal counts as status 2, as pytest counts an interrupt.
    """
    began_at = time.monotonic()
    report = f"--junitxml={reports / str(time.time_ns())}.xml"
    with subprocess.Popen([sys.executable, "-m", "pytest", report, *arguments]) as pytest:
        try:
            status = pytest.wait()
        except KeyboardInterrupt:  # pytest receives the signal too, and ends what it started
            status = pytest.wait()
    print(f"---- tests {title}: {time.monotonic() - began_at:.0f} s, exit status {status}", flush=True)
    return status if status >= 0 else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
