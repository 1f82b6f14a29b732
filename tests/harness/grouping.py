"""The order in which workers take test files, and the marks that need a reason.

The tests of one file stay on one worker, together with the fixtures that they share.
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
"""Files and folders in the order of their longest tests, the longest first.

A long test that begins last leaves the other workers idle.
"""
REASONED = ("alone", "pods")
"""Marks that cost time. Each use must give the reason."""
_TESTS = Path(__file__).parent.parent


def arrange(items: list[pytest.Item]) -> None:
    """Put the folders with the longest tests first. The order within a folder stays.

    Raises pytest.UsageError if one of these marks has no reason.
    """
    items.sort(key=_rank)
    for item in items:
        for mark in item.iter_markers():
            if mark.name in REASONED and not (mark.args and isinstance(mark.args[0], str)):
                raise pytest.UsageError(f"{item.nodeid}: say why in @pytest.mark.{mark.name}('...')")


def _rank(item: pytest.Item) -> int:
    matching = (rank for rank, place in enumerate(FIRST) if item.path.is_relative_to(_TESTS / place))
    return next(matching, len(FIRST))
