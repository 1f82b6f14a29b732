"""Tests of If-Match (a change is accepted only for the named version) and of If-None-Match."""

import pytest

from services.gateway.http.etags import allows, etag_of, has_current


@pytest.mark.parametrize(
    ("if_match", "allowed"),
    [
        (None, True), ("*", True), ('"7"', True), ('"6", "7"', True),
        ('"6"', False), ("7", False), ('W/"7"', False), ("", False), ('"6", *', False), ('"77"', False),
    ],
)  # fmt: skip
def test_if_match(if_match: str | None, allowed: bool) -> None:
    assert allows(if_match, 7) is allowed


def test_an_etag_matches_itself() -> None:
    assert allows(etag_of(12), 12)


@pytest.mark.parametrize(
    ("if_none_match", "current"),
    [
        (None, False), ("*", True), ('"a"', True), ('W/"a"', True), ('"b" , W/"a"', True),
        ('"b"', False), ("a", False), ("", False), ('"b", *', False), ('"aa"', False),
    ],
)  # fmt: skip
def test_if_none_match(if_none_match: str | None, current: bool) -> None:
    assert has_current(if_none_match, '"a"') is current
