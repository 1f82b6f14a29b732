"""Tests of the permissions of a token."""

import pytest

from services.gateway.people import Caller, Scope


@pytest.mark.parametrize(
    ("scopes", "is_admin", "allowed"),
    [
        (set(), True, set()),
        ({"read"}, True, {Scope.READ}),
        ({"write"}, False, {Scope.READ, Scope.WRITE}),
        ({"admin"}, True, set(Scope)),
        ({"admin"}, False, {Scope.READ, Scope.WRITE}),
        ({"unknown"}, True, set()),
    ],
)
def test_scopes(scopes: set[str], is_admin: bool, allowed: set[Scope]) -> None:
    caller = Caller(1, "mona", is_admin, frozenset(scopes), 1)
    assert {scope for scope in Scope if caller.may(scope)} == allowed
