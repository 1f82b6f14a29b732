"""Repository identities: finds the registered repository that a verified delivery is about.

A repository is identified by (forge, forge id). Its name may change. A delivery with a known name but another
id is about another repository.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.events import Ignored
from shared.forges import ForgeRepository, Reading
from shared.quoting import shown


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRepository:
    """A registered repository, with what earlier deliveries have shown about it."""

    id: int
    forge: str
    full_name: str
    """Name as registered."""
    hook_key: str
    current_name: str | None = None
    forge_id: int | None = None
    """Registered or learned from a delivery."""
    hook_target_type: str | None = None
    """Registered or learned from a delivery."""
    learned: bool = False
    is_registered_id: bool = False
    """True if an administrator registered `forge_id`; otherwise it was learned."""
    by_own_hook: bool = False
    """True if all learned values come from deliveries of the repository's own hook."""

    @property
    def names(self) -> tuple[str, ...]:
        """Returns the current name, then the registered name if it differs."""
        return tuple(dict.fromkeys([self.current_name or self.full_name, self.full_name]))

    def has_name(self, name: str) -> bool:
        return name.lower() in {known.lower() for known in self.names}


@dataclass(frozen=True, slots=True)
class IdentityUpdate:
    """An identity update: what a delivery shows about a repository."""

    repository_id: int
    forge: str
    forge_id: int
    full_name: str
    hook_target_type: str | None
    by_own_hook: bool
    """True if the delivery was verified with the repository's own secret.

    Maintainers can sign any body with it, so the update counts for that hook only.
    """


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """A delivery that is about no registered repository, or that comes from a hook that does not count."""

    outcome: str
    reason: str
    repository: KnownRepository | None = None
    """The repository whose users may see the delivery.

    It is None for a mismatch, because that delivery is about another repository.
    """


def recognise(
    reading: Reading, hook_key: str | None, repositories: Sequence[KnownRepository]
) -> KnownRepository | Unrecognised:
    """Returns the repository that a delivery is about, or the reason why there is none.

    `hook_key` identifies the repository's own hook if the delivery was verified with its secret. Such a
    delivery can only be about that repository.
    """
    named = reading.repository
    if named is None:
        return Unrecognised("unknown_repository", "The delivery names no repository.")
    found = _by_hook(hook_key, repositories) if hook_key is not None else _by_identity(named, repositories)
    if found is None:
        return Unrecognised("unknown_repository", f"Repository {shown(named.full_name)} is not registered.")
    owner = _by_id(named, repositories)
    if owner is not None and owner.id != found.id:
        reason = f"The id {named.forge_id} belongs to another repository than {shown(found.full_name)}."
        return Unrecognised("repository_mismatch", reason)
    if not _is(found, named):
        reason = (
            f"{shown(found.full_name)} is registered as another repository of that forge: its id there is "
            f"not {named.forge_id}."
        )
        return Unrecognised("repository_mismatch", reason)
    if _comes_from_another_hook(reading, found):
        reason = (
            f"A hook of type {shown(reading.hook_target_type or '')} reported it; those of type "
            f"{shown(found.hook_target_type or '')} count."
        )
        return Unrecognised("other_hook", reason, found)
    return found


def identity_update(
    reading: Reading, repository: KnownRepository, *, by_own_hook: bool
) -> IdentityUpdate | None:
    """Returns the identity update of a recognised delivery, or None if everything is already known.

    Ignored deliveries give no update: the hook type that counts is the one that reports pushes or pull
    requests.
    """
    named = reading.repository
    if named is None or isinstance(reading.said, Ignored):
        return None
    first_target_type = repository.hook_target_type is None and reading.hook_target_type is not None
    is_confirmed = not repository.by_own_hook or by_own_hook
    is_known = repository.learned and repository.current_name == named.full_name and is_confirmed
    if is_known and not first_target_type:
        return None
    hook_target_type = reading.hook_target_type
    return IdentityUpdate(
        repository.id, named.forge, named.forge_id, named.full_name, hook_target_type, by_own_hook
    )


def _by_hook(hook_key: str, repositories: Sequence[KnownRepository]) -> KnownRepository | None:
    return next((known for known in repositories if known.hook_key == hook_key), None)


def _by_identity(named: ForgeRepository, repositories: Sequence[KnownRepository]) -> KnownRepository | None:
    """Finds a repository by forge id, else by its registered or current name.

    If it is found by name, the caller must still compare the ids.
    """
    by_id = _by_id(named, repositories)
    if by_id is not None:
        return by_id
    name = named.full_name.lower()
    named_so = [known for known in repositories if known.forge == named.forge and known.has_name(name)]
    return min(named_so, key=lambda known: (known.full_name.lower() != name, known.id), default=None)


def _by_id(named: ForgeRepository, repositories: Sequence[KnownRepository]) -> KnownRepository | None:
    """Finds the repository with this forge id.

    The id must be registered, or learned from a delivery other than those of the repository's own hook.
    """
    wanted = (named.forge, named.forge_id)
    same_id = [known for known in repositories if (known.forge, known.forge_id) == wanted]
    owners = [known for known in same_id if known.is_registered_id or not known.by_own_hook]
    return min(owners, key=lambda known: (not known.is_registered_id, known.id), default=None)


def _is(known: KnownRepository, named: ForgeRepository) -> bool:
    if known.forge != named.forge:
        return False
    return known.has_name(named.full_name) if known.forge_id is None else known.forge_id == named.forge_id


def _comes_from_another_hook(reading: Reading, known: KnownRepository) -> bool:
    """Returns True if a hook of another type than the known one sent the delivery.

    Only GitHub reports the type. A delivery without a type counts.
    """
    return (
        reading.hook_target_type is not None
        and known.hook_target_type is not None
        and reading.hook_target_type != known.hook_target_type
    )
