"""The files that a push changed, read from the commits that the forge lists.

The files of a push are the union over its commits. The list is complete or it is not used: a pipeline with a
path filter runs if the list is not complete.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from shared.forges.reading import Fields

FILE_LIMIT = 3000
FILES_LIMIT_BYTES = 256 * 1024
COMMIT_LIMIT = 2048
"""GitHub lists no more commits of a push than this."""
_NAMES_READ_LIMIT = 20 * FILE_LIMIT
"""Names that are read of one push, with repetitions. It bounds the work for a body of 25 MiB."""
_KINDS = ("added", "modified", "removed")


class Unknown(StrEnum):
    """Why the files of a push are not known."""

    NEW_BRANCH = "new_branch"
    FORCED = "forced"
    NO_COMMITS = "no_commits"
    TOO_MANY_COMMITS = "too_many_commits"
    TRUNCATED = "truncated"
    NOT_LISTED = "not_listed"
    TOO_MANY_FILES = "too_many_files"


class ChangedFiles(NamedTuple):
    """The files in the order of their names, or the reason why they are not known."""

    files: tuple[str, ...] | None
    unknown: Unknown | None


def read_changed_files(payload: Fields) -> ChangedFiles:
    """Reads the files of a push to a branch that still exists."""
    commits = payload.objects("commits")
    if (why := _incomplete(payload, commits)) is not None:
        return ChangedFiles(None, why)
    found: set[str] = set()
    size_bytes = read = 0
    for commit in commits or ():
        names = _names(commit)
        if names is None:
            return ChangedFiles(None, Unknown.NOT_LISTED)
        read += sum(map(len, names))
        if read > _NAMES_READ_LIMIT:
            return ChangedFiles(None, Unknown.TOO_MANY_FILES)
        for name in (name for some in names for name in some):
            if name not in found:
                found.add(name)
                size_bytes += len(name.encode())
        if len(found) > FILE_LIMIT or size_bytes > FILES_LIMIT_BYTES:
            return ChangedFiles(None, Unknown.TOO_MANY_FILES)
    return ChangedFiles(tuple(sorted(found)), None)


def _incomplete(payload: Fields, commits: Sequence[Mapping[str, Any]] | None) -> Unknown | None:
    """Returns why the listed commits are not all that the push changed, or None.

    Gitea does not say that a push is forced. Such a push is recognised only if it lists no commit.
    """
    before = payload.text("before")
    if payload.is_true("created") or not before or set(before) == {"0"}:
        return Unknown.NEW_BRANCH
    if payload.is_true("forced"):
        return Unknown.FORCED
    if commits is None:
        return Unknown.NOT_LISTED
    if len(commits) >= COMMIT_LIMIT:
        return Unknown.TOO_MANY_COMMITS
    if (payload.number("total_commits") or 0) > len(commits):
        return Unknown.TRUNCATED
    return Unknown.NO_COMMITS if not commits and before != payload.text("after") else None


def _names(commit: Mapping[str, Any]) -> list[list[str]] | None:
    """Returns the lists of names of a commit, or None if it has none. Gitea sends null for an empty list."""
    lists = [commit.get(kind) for kind in _KINDS]
    if all(some is None for some in lists):
        return None
    found: list[list[str]] = []
    for some in lists:
        if some is not None and not (isinstance(some, list) and all(isinstance(name, str) for name in some)):
            return None
        found.append([name.replace("\0", "\N{REPLACEMENT CHARACTER}") for name in some or ()])
    return found
