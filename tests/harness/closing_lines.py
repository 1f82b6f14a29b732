"""A pytest plugin: the last lines of a failing run name the failed tests and the random seed.

Output is often cut to its last lines. These lines come after pytest's own summary, whose length grows with
the number of failures, and before its final line. With pytest-xdist the controller prints them.
`--closing-lines=FILE` also appends them to FILE, for a caller that runs pytest more than once.
"""

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import pytest

NAMES = 12
"""The number of names. Together with the lines around them and some of the caller's, they fit in 20 lines."""
_WIDTH = 200


def closing_lines(failed: Sequence[str], seed: object, status: int) -> list[str]:
    """Return at most NAMES + 2 lines.

    `seed` is None if the order is not random. `status` is pytest's exit status.
    """
    order = (
        "in the files' order"
        if seed is None
        else f"random seed {seed}, again with -p randomly --randomly-seed={seed}"
    )
    lines = [
        f"{len(failed)} failed (exit status {status}; {order}):",
        *(name[:_WIDTH] for name in failed[:NAMES]),
    ]
    return [*lines, f"and {len(failed) - NAMES} more"] if len(failed) > NAMES else lines


def failures(reports: Iterable[pytest.TestReport | pytest.CollectReport]) -> list[str]:
    """Return the ids of tests and files, each once, with the phase if it is not the call of the test."""
    names = {}
    for report in reports:
        phase = report.when or ""
        names[without_group(report.nodeid) + (f" ({phase})" if phase != "call" else "")] = True
    return list(names)


def without_group(test: str) -> str:
    """Return the id of a test as pytest accepts it. pytest-xdist appends `@group` for --dist=loadgroup."""
    return test.rpartition("@")[0] if test.rfind("@") > test.rfind("]") else test


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--closing-lines", type=Path, metavar="FILE", help="append a failing run's closing lines to FILE"
    )


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> Generator[None, None, None]:
    """Print the closing lines.

    As the outermost wrapper it runs after the summaries of pytest and all plugins.
    """
    yield
    is_worker = hasattr(config, "workerinput")
    if is_worker or exitstatus in {pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED}:
        return
    reports = [report for kind in ("error", "failed") for report in terminalreporter.stats.get(kind, [])]
    seed = config.getoption("randomly_seed", None)
    lines = closing_lines(failures(reports), seed, int(exitstatus))
    for line in lines:
        terminalreporter.write_line(line)
    if file := config.getoption("--closing-lines"):
        with file.open("a", encoding="utf-8") as opened:
            opened.writelines(f"{line}\n" for line in lines)
