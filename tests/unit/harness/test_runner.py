"""Tests of `python -m tests`: the division of the tests, and the result of the parts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.__main__ import both, verdict
from tests.harness.slowest import slowest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("statuses", "wanted"),
    [((0, 0), 0), ((0, 5), 0), ((5, 0), 0), ((5, 5), 5), ((1, 5), 1), ((5, 1), 1), ((0, 2), 2), ((1, 0), 1)],
)
def test_the_worst_part_counts_and_an_empty_one_only_where_all_are(
    statuses: tuple[int, int], wanted: int
) -> None:
    assert verdict(statuses) == wanted


def test_a_marker_expression_of_the_caller_still_holds() -> None:
    assert both("", "not alone") == "not alone"
    assert both("a or b", "not alone") == "(a or b) and not alone"


MODULE = '''"""Three tests that may run side by side, and one that may not."""

import os

import pytest


@pytest.mark.parametrize("number", range(3))
def test_beside_others(number, tmp_path_factory):
    assert "PYTEST_XDIST_WORKER" in os.environ


@pytest.mark.alone("shows how it is run")
def test_alone():
    assert "PYTEST_XDIST_WORKER" not in os.environ
'''


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    clean = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TOWPATH_"))
    }
    program = [
        sys.executable,
        "-m",
        "tests",
        "-p",
        "no:cacheprovider",
        "-v",
        "-c",
        str(ROOT / "pyproject.toml"),
        str(folder),
    ]
    return subprocess.run(
        [*program, *arguments], cwd=ROOT, env=clean, capture_output=True, text=True, timeout=100, check=False
    )


def test_tests_run_side_by_side_and_those_marked_alone_by_themselves(tmp_path: Path) -> None:
    (tmp_path / "test_them.py").write_text(MODULE)
    done = run(tmp_path, "-n", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    side_by_side, alone = done.stdout.split("---- tests side by side")
    assert "3 passed" in side_by_side
    assert "1 passed" in alone


def test_a_mark_without_its_reason_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "from tests.harness.grouping import arrange as pytest_collection_modifyitems\n"
    )
    (tmp_path / "test_them.py").write_text("import pytest\n\n\n@pytest.mark.alone\ndef test_it(): pass\n")
    done = run(tmp_path, "-n", "0")
    assert done.returncode != 0
    assert "say why in @pytest.mark.alone" in done.stdout + done.stderr


def test_the_slowest_tests_of_all_reports_are_named(tmp_path: Path) -> None:
    case = (
        '<testsuites><testsuite><testcase classname="tests.{0}" name="test_{0}" '
        'time="{1}"/></testsuite></testsuites>'
    )
    (tmp_path / "a.xml").write_text(case.format("a", "1.5"))
    (tmp_path / "b.xml").write_text(case.format("b", "20.25"))
    assert slowest(tmp_path) == [(20.25, "tests.b::test_b"), (1.5, "tests.a::test_a")]
    assert slowest(tmp_path, 1) == [(20.25, "tests.b::test_b")]
