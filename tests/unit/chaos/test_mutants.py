"""Tests of the mutants: they fit the code, their tests exist, and a mutated file must compile."""

from pathlib import Path

import pytest

from devstack.stack import CHECKOUT
from tests.chaos.mutants import MUTANTS, STATEMENTS, Change, Mutant, misplaced, why_not_compiled

SAFEGUARDS = {
    "the unique key of deliveries",
    "the unique key of runs",
    "the outbox's transaction",
    "the publisher confirm",
    "the claim",
    "the started mark",
    "the compare-and-set on an attempt's status",
    "the admission lock",
    "the ack after commit",
    "the cursor in the segment's transaction",
}


def test_every_safeguard_has_its_mutant() -> None:
    assert {mutant.without for mutant in MUTANTS} >= SAFEGUARDS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_a_planted_error_fits_the_code(mutant: Mutant) -> None:
    assert misplaced(mutant, CHECKOUT) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_the_test_that_has_to_find_it_and_its_controls_exist(mutant: Mutant) -> None:
    for test in (mutant.test, *mutant.controls):
        path, _, name = test.partition("::")
        assert f"def {name}(" in (CHECKOUT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_statements_are_planned_where_a_mutant_changes_sql(mutant: Mutant) -> None:
    changes_sql = any(change.path.endswith(".sql") for change in mutant.changes)
    assert (STATEMENTS in mutant.controls) is changes_sql
    assert mutant.test not in mutant.controls


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("def a() -> None:\n    pass\n", ""),
        ("def a() -> None:\n    if\n", "shared/a.py:2 does not compile: invalid syntax"),
    ],
)
def test_a_file_that_does_not_compile_is_named(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/a.py").write_text(text)
    mutant = Mutant("a", (Change("shared/a.py", "", ""), Change("shared/a.sql", "", "")), "test", "control")
    assert why_not_compiled(mutant, tmp_path) == why
