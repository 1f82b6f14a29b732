"""Which tests stay together on one worker, and in which order workers take them."""

from pathlib import Path

import pytest

ONE_EACH = {
    "breakable_servers": "a pair of servers that tests break: started once per module",
    "narrow_towpath": "an installation with one slot: tests would wait for one another's jobs",
}
"""Fixtures whose tests of a module form a group, and why."""
FIRST = ("chaos", "e2e", "contracts", "integration", "unit")
"""Folders with the longest tests come first: a long test that begins last leaves the other workers without work."""
_TESTS = Path(__file__).parent.parent


REASONED = ("alone", "pods")
"""Marks that cost time: each says why the test has it."""


def arrange(items: list[pytest.Item]) -> None:
    """Put the longest folders first, and mark the tests of a module that share a fixture as one group. Order within a folder stays.

    Raises pytest.UsageError where a mark lacks its reason.
    """
    items.sort(key=_rank)
    for item in items:
        for mark in item.iter_markers():
            if mark.name in REASONED and not (mark.args and isinstance(mark.args[0], str)):
                raise pytest.UsageError(f"{item.nodeid}: say why in @pytest.mark.{mark.name}('...')")
        if shares_a_fixture(item) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def shares_a_fixture(item: pytest.Item) -> bool:
    """Whether the test uses a fixture that is made once for its module."""
    definitions = item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
    return any(name in ONE_EACH or made[-1].scope == "module" for name, made in definitions.items())


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(_TESTS).parts[0] if item.path.is_relative_to(_TESTS) else ""
    return FIRST.index(folder) if folder in FIRST else len(FIRST)
