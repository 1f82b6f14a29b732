"""Tests that docs/guarantees.md names an existing test for each fault and each case.

docs/sandbox.md does the same for the resources that jobs reach, and docs/scripts.md for everyday scripts.
"""

import re
from pathlib import Path

import pytest

from tests.contracts.everyday_scripts import CASES as EVERYDAY

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/guarantees.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| ([FAX]\d\d) \| [^|]+ \| (.+) \|$", PAGE, flags=re.MULTILINE)
TRIED = {*range(1, 39), 57, 58, 60, *range(62, 68)}
CASES = {*(f"A{number:02}" for number in range(1, 19)), *(f"X{number:02}" for number in range(1, 15))}


def test_every_fault_has_its_row() -> None:
    assert {fault for fault, _ in ROWS} >= {f"F{number:02}" for number in TRIED} | CASES


def test_every_fault_has_a_test_of_its_name() -> None:
    assert [fault for fault, tests in ROWS if f"::test_{fault.lower()}_" not in tests] == []


@pytest.mark.parametrize(("fault", "tests"), ROWS, ids=[fault for fault, _ in ROWS])
def test_every_test_of_a_fault_is_there(fault: str, tests: str) -> None:
    named = re.findall(r"`([^`]+)::(test_\w+)`", tests)
    assert named, fault
    assert [
        name for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ] == []


def test_a_test_named_after_a_fault_stands_in_its_row() -> None:
    tests_of = re.compile(r"def (test_([fax]\d\d)_\w+)\(")
    named = {
        (row.upper(), name)
        for path in (ROOT / "tests").rglob("test_*.py")
        for name, row in tests_of.findall(path.read_text())
    }
    assert {
        (fault, name)
        for fault, name in named
        if not any(row == fault and f"::{name}`" in tests for row, tests in ROWS)
    } == set()


def test_every_test_that_the_sandbox_page_names_is_there_and_every_row_names_one() -> None:
    page = (ROOT / "docs/sandbox.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`]+)::(test_\w+)`", page)
    assert [
        name for path, name in named if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ] == []
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| what ")]
    assert len(rows) > 15
    assert [row for row in rows if "::test_" not in row] == []


def test_every_row_of_the_scripts_page_names_a_test_and_every_case_stands_there() -> None:
    page = (ROOT / "docs/scripts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| .* \| `([^`|]+)` \|$", page, flags=re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| (?!what )", page, flags=re.MULTILINE)) > 60
    tests = [row.split("::") for row in rows if "::" in row]
    assert [
        name for path, name in tests if f"def {name}(" not in (ROOT / path).read_text(encoding="utf-8")
    ] == []
    assert {row for row in rows if "::" not in row} == {case.name for case in EVERYDAY}
    assert len({case.name for case in EVERYDAY}) == len(EVERYDAY)
