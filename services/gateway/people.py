"""The caller of a request and the scopes of its token."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """The scope of a token. Each scope includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_INCLUDES: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
}


def included(scopes: frozenset[str]) -> frozenset[str]:
    """Return these scopes and all scopes that they include."""
    return frozenset().union(*(_INCLUDES.get(scope, frozenset()) for scope in scopes))


@dataclass(frozen=True, slots=True)
class Caller:
    """The user of a token."""

    user_id: int
    name: str
    is_admin: bool
    """True if the user is an administrator and the token has the scope `admin`.

    Such a caller can access the objects of all users.
    """
    scopes: frozenset[str]
    token_id: int

    def may(self, scope: Scope) -> bool:
        """Return True if the token has this scope.

        The scope `admin` is valid only for tokens of administrators.
        """
        return scope in included(self.scopes) and (scope is not Scope.ADMIN or self.is_admin)


@dataclass(frozen=True, slots=True)
class Origin:
    """The token and the address of a request, for the audit log."""

    token_id: int | None = None
    address: str | None = None
    """The peer of the connection. Behind a proxy it is the proxy."""


_NONE = Origin()
_origin: ContextVar[Origin] = ContextVar("towpath_origin_of_request", default=_NONE)


@contextmanager
def requested_from(origin: Origin) -> Iterator[None]:
    """Set the origin of the current task's request until the block ends."""
    token = _origin.set(origin)
    try:
        yield
    finally:
        _origin.reset(token)


def origin_of_request() -> Origin:
    """Return the origin of the current request. Its fields are None outside of requests."""
    return _origin.get()
