"""In which order workers take test files, and which marks need a reason.

The tests of a file stay on one worker, with what they share.
"""

from pathlib import Path

import pytest

FIRST = (
    "integration/logsink/test_real_logs.py",
    "chaos",
    "e2e",
    "contracts",
    "integration",
    "security",
    "unit",
)
"""Files and folders with the longest tests come first: a long test that begins last leaves the other workers
without work.
"""
REASONED = ("alone", "pods")
"""Marks that cost time: each says why the test has it."""
_TESTS = Path(__file__).parent.parent


def arrange(items: list[pytest.Item]) -> None:
    """Put the longest folders first; order within a folder stays.

    Raises pytest.UsageError where a mark lacks its reason.
    """
    items.sort(key=_rank)
    for item in items:
        for mark in item.iter_markers():
            if mark.name in REASONED and not (mark.args and isinstance(mark.args[0], str)):
                raise pytest.UsageError(f"{item.nodeid}: say why in @pytest.mark.{mark.name}('...')")


def _rank(item: pytest.Item) -> int:
    matching = (rank for rank, place in enumerate(FIRST) if item.path.is_relative_to(_TESTS / place))
    return next(matching, len(FIRST))
