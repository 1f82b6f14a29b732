"""Tests of the verdicts about mutants.

A mutant is found if an assertion of its test fails while the controls pass. Any other failure is a wrong
reason.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from tests.chaos.outcomes import Outcome
from tests.chaos.verdicts import FOUND, NOT_FOUND, WRONG_REASON, Verdict, passed, table, verdict

FILE = "tests/integration/test_keys.py"
TEST, CONTROL = f"{FILE}::test_key", "tests/integration/test_runs.py::test_run"
ASSERTION = ("builtins.AssertionError", "builtins.Exception", "builtins.BaseException", "builtins.object")
FAILED = ("builtins.Failed", "_pytest.outcomes.OutcomeException", "builtins.BaseException", "builtins.object")
PYTEST = "/venv/site-packages/_pytest/python.py"
RAISES = "/venv/site-packages/_pytest/raises.py"
TIMEOUT = "/venv/site-packages/pytest_timeout.py"

CONTROL_PASSED = Outcome(test=CONTROL, phase="call", result="passed")
SETUP = Outcome(test=TEST, phase="setup", result="passed")
PASSED = Outcome(test=TEST, phase="call", result="passed")
BY_ASSERT = Outcome(
    test=TEST,
    phase="call",
    result="failed",
    error="builtins.AssertionError",
    bases=ASSERTION,
    message="assert 2 == 1",
    files=(PYTEST, FILE),
    line=7,
)
BY_RAISES = replace(
    BY_ASSERT,
    error="builtins.Failed",
    bases=FAILED,
    message="DID NOT RAISE UniqueViolationError",
    files=(PYTEST, FILE, RAISES),
)


def error(
    name: str, message: str = "said", files: tuple[str, ...] = (PYTEST, FILE), phase: str = "call"
) -> Outcome:
    """Return the outcome of a test that ended with an exception other than AssertionError."""
    bases = (name, "builtins.Exception", "builtins.BaseException", "builtins.object")
    return replace(BY_ASSERT, error=name, bases=bases, message=message, files=files, phase=phase)


def judged(*outcomes: Outcome) -> Verdict:
    return verdict(TEST, [CONTROL], [CONTROL_PASSED, SETUP, *outcomes])


@pytest.mark.parametrize(
    "outcome",
    [
        BY_ASSERT,
        BY_RAISES,
        replace(
            BY_ASSERT,
            files=(PYTEST, FILE, "tests/harness/waiting.py"),
            message="handled [1]: not within 20 s",
        ),
        replace(BY_ASSERT, files=(PYTEST, FILE, RAISES), message="Regex pattern did not match."),
        replace(
            BY_ASSERT,
            error="tests.harness.client.NotExpected",
            bases=("tests.harness.client.NotExpected", *ASSERTION),
        ),
        replace(BY_ASSERT, test=f"{TEST}[dash]"),
    ],
    ids=[
        "assert",
        "pytest.raises",
        "a bounded wait",
        "pytest.raises(match=)",
        "a kind of AssertionError",
        "a parameter",
    ],
)
def test_an_assertion_of_the_test_finds_it(outcome: Outcome) -> None:
    assert judged(outcome) == Verdict(FOUND, outcome.error, outcome.message)


@pytest.mark.parametrize(
    ("outcome", "why"),
    [
        (error("builtins.NameError"), "no assertion of the test: tests/integration/test_keys.py:7: said"),
        (error("asyncpg.exceptions.PostgresSyntaxError"), "no assertion of the test"),
        (error("builtins.TimeoutError"), "no assertion of the test"),
        (
            replace(
                BY_RAISES, message="Timeout (>120.0s) from pytest-timeout.", files=(PYTEST, FILE, TIMEOUT)
            ),
            "no assertion of the test",
        ),
        (
            replace(BY_ASSERT, files=(PYTEST, FILE, "shared/database/store.py")),
            "no assertion of the test: shared/database/store.py:7: assert 2 == 1",
        ),
        (replace(BY_ASSERT, files=(PYTEST, "tests/conftest.py")), "no assertion of the test"),
        (
            replace(BY_ASSERT, phase="setup"),
            "a fixture failed: tests/integration/test_keys.py:7: assert 2 == 1",
        ),
        (error("builtins.ImportError", phase="collect"), "collection failed"),
        (replace(BY_ASSERT, test=CONTROL), "the control test_run failed in call"),
        (replace(BY_ASSERT, test=CONTROL, phase="teardown"), "the control test_run failed in teardown"),
    ],
    ids=lambda value: value.error.rpartition(".")[2] if isinstance(value, Outcome) else "",
)
def test_any_other_failure_is_a_wrong_reason(outcome: Outcome, why: str) -> None:
    found = judged(outcome, BY_ASSERT)
    assert (found.word, found.error, found.is_found) == (WRONG_REASON, outcome.error, False)
    assert found.message.startswith(why)


def test_one_wrong_failure_among_right_ones_is_a_wrong_reason() -> None:
    assert judged(BY_ASSERT, replace(error("builtins.KeyError"), test=f"{TEST}[2]")).word == WRONG_REASON


def test_a_parameter_that_passes_beside_one_that_fails_is_no_matter() -> None:
    assert judged(replace(PASSED, test=f"{TEST}[1]"), replace(BY_ASSERT, test=f"{TEST}[2]")).is_found


def test_an_error_at_teardown_neither_finds_it_nor_hides_it() -> None:
    teardown = replace(BY_ASSERT, phase="teardown")
    assert judged(BY_ASSERT, teardown).is_found
    assert judged(PASSED, teardown) == Verdict(NOT_FOUND, "", "the test passed")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ([CONTROL_PASSED, SETUP, PASSED], Verdict(NOT_FOUND, "", "the test passed")),
        (
            [CONTROL_PASSED, SETUP, replace(PASSED, result="skipped")],
            Verdict(NOT_FOUND, "", "the test did not run"),
        ),
        ([SETUP, BY_ASSERT], Verdict(WRONG_REASON, "", "the control test_run did not run")),
        (
            [replace(CONTROL_PASSED, result="skipped"), BY_ASSERT],
            Verdict(WRONG_REASON, "", "the control test_run did not run"),
        ),
        (
            [CONTROL_PASSED, replace(BY_ASSERT, test=f"{TEST}_of_another_name")],
            Verdict(NOT_FOUND, "", "the test did not run"),
        ),
    ],
    ids=["passes", "skipped", "no control", "a skipped control", "another test"],
)
def test_a_test_that_passes_or_does_not_run_finds_nothing(
    outcomes: Sequence[Outcome], expected: Verdict
) -> None:
    assert verdict(TEST, [CONTROL], outcomes) == expected


def test_in_the_untouched_copy_every_test_has_to_run_and_pass() -> None:
    assert passed([TEST, CONTROL], [CONTROL_PASSED, SETUP, PASSED]) == []
    assert passed([TEST, CONTROL], [CONTROL_PASSED, SETUP]) == [f"{TEST} did not run"]
    assert passed([TEST], [replace(BY_ASSERT, phase="teardown")]) == [
        f"{TEST} in teardown: builtins.AssertionError assert 2 == 1"
    ]


def test_the_table_has_a_line_for_each_mutant() -> None:
    rows = [
        ("the key", TEST, Verdict(FOUND, "builtins.AssertionError", "assert 2 == 1")),
        ("the lock", TEST, judged(PASSED)),
    ]
    heads, _, first, second = table(rows).splitlines()
    assert [cell.strip() for cell in heads.split("|")] == [
        "without",
        "test",
        "verdict",
        "exception",
        "its first line",
    ]
    assert [cell.strip() for cell in first.split("|")] == [
        "the key",
        "test_key",
        "found",
        "AssertionError",
        "assert 2 == 1",
    ]
    assert [cell.strip() for cell in second.split("|")] == [
        "the lock",
        "test_key",
        "NOT FOUND",
        "",
        "the test passed",
    ]
