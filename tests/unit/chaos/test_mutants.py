"""The planted errors of `make chaos-mutants` still fit the code, and the tests that have to find them are there."""

import pytest

from devstack.stack import CHECKOUT
from tests.chaos.mutants import MUTANTS, Mutant, misplaced


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_a_planted_error_fits_the_code(mutant: Mutant) -> None:
    assert misplaced(mutant, CHECKOUT) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.without)
def test_the_test_that_has_to_find_it_is_there(mutant: Mutant) -> None:
    path, _, name = mutant.test.partition("::")
    assert f"def {name}(" in (CHECKOUT / path).read_text(encoding="utf-8")
