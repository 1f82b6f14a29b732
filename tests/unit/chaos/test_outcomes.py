"""Tests of the plugin that records the outcomes of a real pytest run, and of the verdicts about them."""

import subprocess
import sys
from pathlib import Path

import pytest

from devstack.stack import CHECKOUT
from tests.chaos.outcomes import Outcome, read_outcomes
from tests.chaos.verdicts import FOUND, NOT_FOUND, WRONG_REASON, verdict

PRODUCT = """
def holds(value):
    assert value, "an assertion of the product"
"""
TESTS = """
import pytest
from product import holds

@pytest.fixture
def broken():
    assert 1 == 2

def test_passes():
    assert True

def test_asserts():
    assert sorted([2, 1]) == [3]

def test_raises():
    with pytest.raises(KeyError):
        pass

def test_raises_another():
    with pytest.raises(KeyError):
        raise ValueError("another")

@pytest.mark.timeout(0.2)
def test_hangs():
    while True:
        pass

def test_has_no_name():
    assert unknown == 1

def test_has_no_fixture(broken):
    pass

def test_ends_in_the_product():
    holds(False)

@pytest.mark.skip
def test_is_skipped():
    assert False
"""
SYNTAX_ERROR = "def test_a(:\n"
ROWS = {
    "test_passes": (NOT_FOUND, "", "the test passed"),
    "test_asserts": (FOUND, "builtins.AssertionError", "assert [1, 2] == [3]"),
    "test_raises": (FOUND, "builtins.Failed", "DID NOT RAISE KeyError"),
    "test_raises_another": (
        WRONG_REASON,
        "builtins.ValueError",
        "no assertion of the test: tests/test_a.py:21: another",
    ),
    "test_hangs": (WRONG_REASON, "builtins.Failed", "no assertion of the test: "),
    "test_has_no_name": (WRONG_REASON, "builtins.NameError", "no assertion of the test: "),
    "test_has_no_fixture": (
        WRONG_REASON,
        "builtins.AssertionError",
        "a fixture failed: tests/test_a.py:7: assert 1 == 2",
    ),
    "test_ends_in_the_product": (
        WRONG_REASON,
        "builtins.AssertionError",
        "no assertion of the test: product.py:3: ",
    ),
    "test_is_skipped": (NOT_FOUND, "", "the test did not run"),
}


def run(folder: Path, tests: str) -> list[Outcome]:
    """Run pytest over a small tree with these tests and return the outcomes."""
    (folder / "pytest.ini").write_text("[pytest]\npythonpath = .\n")
    (folder / "product.py").write_text(PRODUCT)
    (folder / "tests").mkdir()
    (folder / "tests/test_a.py").write_text(tests)
    ours = [
        "-p",
        "tests.chaos.outcomes",
        "--outcomes",
        str(folder / "outcomes.json"),
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
    ]
    argv = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--rootdir",
        str(folder),
        "-c",
        str(folder / "pytest.ini"),
        *ours,
        str(folder / "tests"),
    ]
    subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, timeout=60, check=False)
    return read_outcomes(folder / "outcomes.json")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> list[Outcome]:
    return run(tmp_path_factory.mktemp("tree"), TESTS)


@pytest.mark.parametrize("name", ROWS)
def test_only_the_tests_own_assertions_count(outcomes: list[Outcome], name: str) -> None:
    word, error, message = ROWS[name]
    found = verdict(f"tests/test_a.py::{name}", [], outcomes)
    assert (found.word, found.error) == (word, error)
    assert found.message.startswith(message)


def test_a_syntax_error_is_a_failed_collection(tmp_path: Path) -> None:
    found = verdict("tests/test_a.py::test_a", [], run(tmp_path, SYNTAX_ERROR))
    assert found.word == WRONG_REASON
    assert found.message.startswith("collection failed: ")
