"""Tests of the kinds of faults and of their table in docs/guarantees.md."""

from devstack.stack import CHECKOUT
from tests.chaos.faults import every_fault

GUARANTEES = CHECKOUT / "docs" / "guarantees.md"


def table() -> str:
    rows = [f"| {fault.kind} | {_length(*fault.seconds)} |" for fault in every_fault()]
    return "\n".join(["| kind | length |", "|---|---|", *rows])


def _length(shortest: float, longest: float) -> str:
    if shortest == longest:
        return f"{longest:g} s" if longest else "a moment"
    return f"{shortest:g} to {longest:g} s"


def test_every_kind_has_a_name_of_its_own() -> None:
    kinds = [fault.kind for fault in every_fault()]
    assert len(set(kinds)) == len(kinds)


def test_the_documentation_lists_every_kind_with_its_length() -> None:
    listed = (
        GUARANTEES.read_text(encoding="utf-8")
        .partition("<!-- kinds: begin -->\n")[2]
        .partition("\n<!-- kinds: end -->")[0]
    )
    assert listed == table()
