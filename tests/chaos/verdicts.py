"""Judges whether a mutant was found for the right reason, from the outcomes of a pytest run. Pure.

A mutant is found if its test fails by an assertion of its own while its controls pass. A control is a test
that does not need the safeguard: if it fails, the planted error broke more than the safeguard.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos.outcomes import Outcome

FOUND, NOT_FOUND, WRONG_REASON = "found", "NOT FOUND", "WRONG REASON"
_SHOWN = 90


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a mutant. `error` and `message` describe the failure, or why it does not count."""

    word: str
    error: str
    message: str

    @property
    def is_found(self) -> bool:
        return self.word == FOUND


def verdict(test: str, controls: Sequence[str], outcomes: Sequence[Outcome]) -> Verdict:
    """Judge one pytest run of the test and its controls. A test id stands for all parameters of its test."""
    for outcome in outcomes:
        if outcome.phase == "collect":
            return _wrong(outcome, "collection failed")
    for control in controls:
        of_control = [outcome for outcome in outcomes if _belongs(outcome, control)]
        for outcome in of_control:
            if outcome.result == "failed":
                return _wrong(outcome, f"the control {short(control)} failed in {outcome.phase}")
        if not _calls(of_control):
            return Verdict(WRONG_REASON, "", f"the control {short(control)} did not run")
    return _verdict_of_test(test, [outcome for outcome in outcomes if _belongs(outcome, test)])


def passed(tests: Sequence[str], outcomes: Sequence[Outcome]) -> list[str]:
    """Return why the tests did not all run and pass, a line each. Returns an empty list if they did."""
    broken = [
        f"{outcome.test or 'pytest'} in {outcome.phase}: {outcome.error} {outcome.message}"
        for outcome in outcomes
        if outcome.result == "failed"
    ]
    ran = [test for test in tests if _calls([outcome for outcome in outcomes if _belongs(outcome, test)])]
    return broken or [f"{test} did not run" for test in tests if test not in ran]


def is_own_assertion(outcome: Outcome, file: str) -> bool:
    """Return whether an assertion of the test suite, reached through the test's own file, ended this phase.

    An `assert` of the code under test does not count, nor does the end of pytest-timeout's limit.
    """
    did_not_raise = outcome.error.endswith(".Failed") and outcome.message.startswith("DID NOT RAISE")
    if not did_not_raise and "builtins.AssertionError" not in outcome.bases:
        return False
    raised_in = next((path for path in reversed(outcome.files) if "/_pytest/" not in path), "")
    return file in outcome.files and raised_in.startswith("tests/")


def short(test: str) -> str:
    """Return a test's name without its file."""
    return test.rpartition("::")[2]


def table(rows: Sequence[tuple[str, str, Verdict]]) -> str:
    """Format (safeguard, test, verdict) of each mutant as a table for people."""
    heads = ("without", "test", "verdict", "exception", "its first line")
    lines = [
        (safeguard, short(test), found.word, found.error.removeprefix("builtins."), found.message[:_SHOWN])
        for safeguard, test, found in rows
    ]
    widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]
    return "\n".join(
        " | ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, tuple("-" * width for width in widths), *lines)
    )


def _verdict_of_test(test: str, outcomes: Sequence[Outcome]) -> Verdict:
    for outcome in outcomes:
        if outcome.phase == "setup" and outcome.result == "failed":
            return _wrong(outcome, "a fixture failed")
    calls = _calls(outcomes)
    failures = [outcome for outcome in calls if outcome.result == "failed"]
    for outcome in failures:
        if not is_own_assertion(outcome, test.partition("::")[0]):
            return _wrong(outcome, "no assertion of the test")
    if failures:
        return Verdict(FOUND, failures[0].error, failures[0].message)
    return Verdict(NOT_FOUND, "", "the test passed" if calls else "the test did not run")


def _wrong(outcome: Outcome, why: str) -> Verdict:
    place = f"{outcome.files[-1]}:{outcome.line}: " if outcome.files else ""
    return Verdict(WRONG_REASON, outcome.error, f"{why}: {place}{outcome.message}")


def _belongs(outcome: Outcome, test: str) -> bool:
    return outcome.test == test or outcome.test.startswith(f"{test}[")


def _calls(outcomes: Sequence[Outcome]) -> list[Outcome]:
    return [outcome for outcome in outcomes if outcome.phase == "call" and outcome.result != "skipped"]
