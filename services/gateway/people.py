"""Who asks, and what their token allows. Pure."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a token may do. Each includes the ones before it."""

    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


_INCLUDES: dict[str, frozenset[str]] = {
    "read": frozenset({"read"}),
    "write": frozenset({"read", "write"}),
    "admin": frozenset({"read", "write", "admin"}),
}


def included(scopes: frozenset[str]) -> frozenset[str]:
    """All that these scopes allow."""
    return frozenset().union(*(_INCLUDES.get(scope, frozenset()) for scope in scopes))


@dataclass(frozen=True, slots=True)
class Caller:
    """The user behind a token."""

    user_id: int
    name: str
    is_admin: bool
    """The user is an administrator, and the token has the scope `admin`: it reaches what others own."""
    scopes: frozenset[str]
    token_id: int

    def may(self, scope: Scope) -> bool:
        """Whether the token reaches this far. The scope `admin` is of use to administrators alone."""
        return scope in included(self.scopes) and (scope is not Scope.ADMIN or self.is_admin)
