"""A pytest plugin that writes how each phase of each test ended.

Usage: `-p tests.chaos.outcomes --outcomes=FILE`. FILE is JSON; `tests.chaos.mutants` reads it. An entry has
the exception that ended the phase, and the files of its traceback.
"""

import json
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The outcome of one phase of a test. The fields from `error` on are set if an exception ended it."""

    test: str
    """The test's id. If `phase` is `collect`: the id of the file or folder, empty for the whole run."""
    phase: str
    """`collect`, `setup`, `call` or `teardown`."""
    result: str
    """`passed`, `failed` or `skipped`."""
    error: str = ""
    """The exception's class with its module."""
    bases: tuple[str, ...] = ()
    """That class and all classes that it inherits from, each with its module."""
    message: str = ""
    """The first line of the exception's message."""
    files: tuple[str, ...] = ()
    """The files of the traceback, the innermost last; relative to the root of the tree if they are in it."""
    line: int = 0
    """The line of the innermost frame."""


def failure(test: str, phase: str, error: BaseException, root: Path) -> Outcome:
    """Return the outcome of a phase that this exception ended."""
    files, line, traceback = [], 0, error.__traceback__
    while traceback is not None:
        files.append(_relative(traceback.tb_frame.f_code.co_filename, root))
        line, traceback = traceback.tb_lineno, traceback.tb_next
    return Outcome(
        test=test,
        phase=phase,
        result="failed",
        error=_name(type(error)),
        bases=tuple(_name(base) for base in type(error).__mro__),
        message=next(iter(str(error).strip().splitlines()), ""),
        files=tuple(files),
        line=line,
    )


def read_outcomes(path: Path) -> list[Outcome]:
    """Return the outcomes that the plugin wrote, in the order in which the phases ended."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    return [
        Outcome(**{**entry, "bases": tuple(entry["bases"]), "files": tuple(entry["files"])})
        for entry in entries
    ]


class Recorder:
    """Collects outcomes while the tests run, and writes them when the run ends."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        self._root = root
        self._outcomes: list[Outcome] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: "pytest.CallInfo[None]"
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and call.excinfo is not None:
            self._outcomes.append(failure(item.nodeid, call.when, call.excinfo.value, self._root))
        else:
            self._outcomes.append(Outcome(test=item.nodeid, phase=call.when, result=report.outcome))
        return report

    def pytest_exception_interact(
        self, node: pytest.Item | pytest.Collector, call: "pytest.CallInfo[Any]"
    ) -> None:
        if call.when == "collect" and call.excinfo is not None:
            self._outcomes.append(failure(node.nodeid, "collect", call.excinfo.value, self._root))

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps([asdict(outcome) for outcome in self._outcomes]), encoding="utf-8")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outcomes", type=Path, required=True, help="the file for the outcomes, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config.getoption("--outcomes"), config.rootpath))


def _relative(file: str, root: Path) -> str:
    path = Path(file)
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else file


def _name(kind: type[BaseException]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
