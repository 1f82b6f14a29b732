"""Tests of the registered repository that a delivery belongs to, and of the identity updates."""

from dataclasses import replace

from services.scheduler.identities import (
    IdentityUpdate,
    KnownRepository,
    Unrecognised,
    identity_update,
    recognise,
)
from shared.events import Event, EventKind, Ignored
from shared.forges import ForgeRepository, Reading

PUSH = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True)
READING = Reading(PUSH, ForgeRepository("github", 42, "octo/web"))
REGISTERED = KnownRepository(id=1, forge="github", full_name="Octo/Web", hook_key="k1")
KNOWN = replace(REGISTERED, forge_id=42, current_name="octo/web", learned=True)
OTHER = KnownRepository(id=2, forge="github", full_name="octo/other", hook_key="k2", forge_id=43)


def outcome(found: KnownRepository | Unrecognised) -> str:
    return found.outcome if isinstance(found, Unrecognised) else f"repository {found.id}"


def test_a_renamed_repository_is_found_by_its_id() -> None:
    renamed = replace(READING, repository=ForgeRepository("github", 42, "octo/other"))
    assert outcome(recognise(renamed, None, [OTHER, KNOWN])) == "repository 1"


def test_a_repository_without_an_id_is_found_by_its_name_in_any_case() -> None:
    assert outcome(recognise(READING, None, [OTHER, REGISTERED])) == "repository 1"


def test_a_known_name_with_another_id_is_a_mismatch() -> None:
    impostor = replace(READING, repository=ForgeRepository("github", 99, "octo/web"))
    assert outcome(recognise(impostor, None, [KNOWN])) == "repository_mismatch"


def test_forges_do_not_share_ids_or_names() -> None:
    gitea = replace(READING, repository=ForgeRepository("gitea", 42, "octo/web"))
    assert outcome(recognise(gitea, None, [KNOWN])) == "unknown_repository"
    assert outcome(recognise(gitea, "k1", [KNOWN])) == "repository_mismatch"


def test_a_repositorys_own_hook_speaks_for_it_alone() -> None:
    assert outcome(recognise(READING, "k1", [KNOWN, OTHER])) == "repository 1"
    assert outcome(recognise(READING, "k2", [KNOWN, OTHER])) == "repository_mismatch"
    assert outcome(recognise(READING, "k9", [KNOWN, OTHER])) == "unknown_repository"
    assert outcome(recognise(READING, "k2", [replace(OTHER, forge_id=None)])) == "repository_mismatch"


def test_only_one_type_of_hook_counts_once_it_is_known() -> None:
    known = replace(KNOWN, hook_target_type="repository")
    assert (
        outcome(recognise(replace(READING, hook_target_type="organization"), None, [known])) == "other_hook"
    )
    assert (
        outcome(recognise(replace(READING, hook_target_type="repository"), None, [known])) == "repository 1"
    )
    assert outcome(recognise(READING, None, [known])) == "repository 1"


def test_a_delivery_that_names_nothing_is_about_nothing() -> None:
    assert outcome(recognise(Reading(Ignored("A ping.")), None, [KNOWN])) == "unknown_repository"


def test_what_deliveries_teach() -> None:
    typed = replace(READING, hook_target_type="repository")

    def taught(reading: Reading, known: KnownRepository) -> IdentityUpdate | None:
        return identity_update(reading, known, by_own_hook=False)

    first = IdentityUpdate(1, "github", 42, "octo/web", None, by_own_hook=False)
    assert taught(READING, REGISTERED) == first
    assert taught(READING, KNOWN) is None
    assert taught(typed, KNOWN) == replace(first, hook_target_type="repository")
    assert taught(typed, replace(KNOWN, hook_target_type="repository")) is None
    assert taught(READING, replace(KNOWN, current_name="octo/old")) == first


def test_what_starts_nothing_teaches_nothing() -> None:
    assert identity_update(replace(READING, said=Ignored("A ping.")), REGISTERED, by_own_hook=False) is None


def test_a_renamed_repository_has_both_names() -> None:
    assert replace(KNOWN, current_name="octo/site").names == ("octo/site", "Octo/Web")
