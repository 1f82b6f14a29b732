"""Tests of the warnings about a pipeline's repositories that match none, with suggestions."""

import pytest

from services.gateway.unmatched import warnings_of

USABLE = ["octo/web", "Octo/Boats", "acme/tool"]


@pytest.mark.parametrize("named", ["octo/web", "OCTO/WEB", "octo/boats", "octo/*", "acme/t??l"])
def test_what_stands_for_a_repository_is_not_warned_of(named: str) -> None:
    assert warnings_of([named], USABLE) == []


@pytest.mark.parametrize(
    ("named", "hint"),
    [
        ("octo/boatz", "Did you mean Octo/Boats?"),
        ("octo/other", None),
        ("0cto/web", "Did you mean octo/web?"),
        ("nobody/x", None),
        ("octo/x*", None),
        ("acm/*", None),
    ],
)
def test_what_stands_for_none_is_told_with_what_was_probably_meant(named: str, hint: str | None) -> None:
    (warning,) = warnings_of([named], USABLE)
    assert (warning.path, warning.code, warning.hint) == ("repository", "no_such_repository", hint)
    assert named in warning.message


def test_of_several_the_place_is_told() -> None:
    assert [warning.path for warning in warnings_of(["octo/x", "octo/web", "octo/y"], USABLE)] == [
        "repository[0]",
        "repository[2]",
    ]
    assert len(warnings_of(["octo/x", "octo/y"], [])) == 2
