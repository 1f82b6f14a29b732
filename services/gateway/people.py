"""The caller of a request and the scopes of its token."""

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
