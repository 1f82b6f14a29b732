"""Tests that the last lines of a failing pytest run name the failed tests and the random seed."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.stack import CHECKOUT
from tests.harness.closing_lines import NAMES, closing_lines, without_group

CONFTEST = 'pytest_plugins = ["tests.harness.closing_lines"]\n'
TESTS = """
import pytest

@pytest.fixture
def broken():
    raise OSError("no server")

@pytest.fixture
def left_behind():
    yield
    raise OSError("still running")

@pytest.mark.parametrize("number", range(30))
def test_fails(number):
    assert number < 0, "\\n".join(map(str, range(50)))

@pytest.mark.xdist_group("one")
def test_has_no_fixture(broken):
    pass

def test_leaves_something_behind(left_behind):
    pass

def test_passes():
    pass
"""
FEW = """
import pytest

@pytest.mark.xdist_group("one@home")
@pytest.mark.parametrize("address", ["a@b"])
def test_fails(address):
    assert False

def test_passes():
    pass
"""
SERIAL: list[str] = []
PARALLEL = ["-p", "xdist", "-n", "2", "--dist=loadgroup"]
IN_ORDER: list[str] = []
RANDOM = ["-p", "randomly", "--randomly-seed=77"]


def run(folder: Path, tests: str, *options: str) -> tuple[int, list[str]]:
    """Run pytest over a folder with this file of tests. Return the exit status and the lines of output."""
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = xdist_group(name)\n")
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_a.py").write_text(tests)
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--disable-plugin-autoload",
        "-c",
        str(folder / "pytest.ini"),
        "--rootdir",
        str(folder),
        *options,
    ]
    done = subprocess.run(
        [*argv, str(folder)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize("workers", [SERIAL, PARALLEL], ids=["serial", "parallel"])
@pytest.mark.parametrize("order", [RANDOM, IN_ORDER], ids=["random", "in order"])
def test_the_last_lines_name_what_failed_and_the_seed(
    tmp_path: Path, workers: list[str], order: list[str]
) -> None:
    status, lines = run(
        tmp_path, TESTS, *workers, *order, "--durations=20", f"--closing-lines={tmp_path / 'closing'}"
    )
    last = lines[-20:]
    [head] = [number for number, line in enumerate(last) if line.startswith("32 failed (exit status 1; ")]
    assert status == 1
    assert ("random seed 77" in last[head]) is (order is RANDOM)
    names = last[head + 1 : head + 1 + NAMES]
    assert all(name.startswith("test_a.py::test_") and "@" not in name for name in names)
    assert {
        "test_a.py::test_has_no_fixture (setup)",
        "test_a.py::test_leaves_something_behind (teardown)",
    } <= set(names)
    assert last[head + 1 + NAMES] == f"and {32 - NAMES} more"
    assert last[head + 2 + NAMES :] == [lines[-1]]
    assert "30 failed" in lines[-1]
    assert any("slowest" in line and "durations" in line for line in lines)
    assert (tmp_path / "closing").read_text().splitlines() == last[head : head + 2 + NAMES]


@pytest.mark.parametrize("workers", [SERIAL, PARALLEL], ids=["serial", "parallel"])
def test_few_failures_are_all_named(tmp_path: Path, workers: list[str]) -> None:
    _, lines = run(tmp_path, FEW, *workers, *IN_ORDER)
    assert lines[-3:-1] == ["1 failed (exit status 1; in the files' order):", "test_a.py::test_fails[a@b]"]


def test_a_file_that_cannot_be_imported_is_named(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "import there_is_no_such_module", *SERIAL, *IN_ORDER)
    assert status == 2
    assert "test_a.py (collect)" in lines[-5:]


def test_a_run_that_passes_says_nothing_more(tmp_path: Path) -> None:
    status, lines = run(tmp_path, "def test_passes():\n    pass\n", *SERIAL, *RANDOM)
    assert (status, [line for line in lines if "seed" in line]) == (0, [])


def test_of_many_failures_some_are_named() -> None:
    lines = closing_lines([f"test {number}" for number in range(NAMES + 1)], None, 1)
    assert lines[1:] == [*(f"test {number}" for number in range(NAMES)), "and 1 more"]
    assert len(lines) <= 15
    assert closing_lines(["x" * 1000], None, 1)[1] == "x" * 200


@pytest.mark.parametrize(
    ("test", "expected"),
    [
        ("a.py::t[a@b]", "a.py::t[a@b]"),
        ("a.py::t[a@b]@group", "a.py::t[a@b]"),
        ("a.py::t@group", "a.py::t"),
        ("a.py", "a.py"),
    ],
)
def test_the_group_is_no_part_of_a_name(test: str, expected: str) -> None:
    assert without_group(test) == expected
